# Runs inside fresh network, mount and UTS namespaces: makes a node out of them, says so, and holds them until its
# input ends (when the process that started it is gone, however it went).
# usage: namespace.sh FOLDER HOSTNAME
set -eu
folder=$1

# own PATH NAME: the folder PATH shows the machine's entries, except for NAME, which is new and the namespace's own.
own() {
    mkdir -p "$folder/machine$1" "$folder$1"
    mount --rbind "$1" "$folder/machine$1"
    for entry in "$folder/machine$1"/*; do
        ln -s "$entry" "$folder$1"
    done
    rm -f "$folder$1/$2"
    mkdir "$folder$1/$2"
    mount --bind "$folder$1" "$1"
}

hostname "$2"
own /etc cni
own /var/lib cni
rm -f /etc/machine-id /etc/hostname
tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id
echo "$2" >/etc/hostname
mount -t tmpfs tmpfs /run
ip link set lo up

echo ready
exec cat >/dev/null
