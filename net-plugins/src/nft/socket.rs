//! The socket to the kernel's netfilter part.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::fault;
use crate::netlink::Failure;

/// The kernel answers at once; a plugin that waits for longer than this has lost a message.
const PATIENCE_S: i64 = 10;

/// Sockets that stay open until the process ends. Nobody can close one while the kernel is about to free what was
/// removed, for which it waits ten milliseconds or more, and meanwhile no link is deleted either.
static KEPT: Mutex<Vec<Arc<OwnedFd>>> = Mutex::new(Vec::new());
/// So many of them: more than a DEL opens, and few beside the files that a process may have open.
const MOST_KEPT: usize = 32;

/// A socket of the netfilter kind, in the namespace of the thread that opens it.
pub(super) struct Socket(Arc<OwnedFd>);

impl Socket {
    pub(super) fn open() -> Result<Socket, Failure> {
        let protocol = SockProtocol::NetlinkNetFilter;
        let fd = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            protocol,
        )
        .map_err(refused)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, 0)).map_err(refused)?;
        setsockopt(&fd, ReceiveTimeout, &TimeVal::seconds(PATIENCE_S)).map_err(refused)?;
        let fd = Arc::new(fd);
        // Nothing can go wrong while it is held.
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < MOST_KEPT {
            kept.push(Arc::clone(&fd));
        }
        Ok(Socket(fd))
    }

    pub(super) fn send(&self, bytes: &[u8]) -> Result<(), Failure> {
        fault::point("nf_tables").map_err(|e| Failure::Other(e.msg))?;
        send(self.0.as_raw_fd(), bytes, MsgFlags::empty())
            .map(drop)
            .map_err(refused)
    }

    pub(super) fn receive(&self) -> Result<Vec<u8>, Failure> {
        let mut buffer = vec![0; 1 << 16];
        match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
            Ok(length) => {
                buffer.truncate(length);
                Ok(buffer)
            }
            Err(Errno::EAGAIN) => Err(Failure::Silence),
            Err(errno) => Err(refused(errno)),
        }
    }
}

fn refused(errno: Errno) -> Failure {
    Failure::Errno(errno as i32)
}
