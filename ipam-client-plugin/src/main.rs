//! `cluster-ipam`: run by a container runtime with `CNI_COMMAND`, or by a person with `flush`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use ipam_client_plugin::flush::Flush;
use ipam_client_plugin::identity::boottime_ns;
use ipam_client_plugin::log;
use ipam_client_plugin::plugin::Ipam;

const HELP: &str = "\
cluster-ipam: CNI IPAM plugin that leases addresses from ipam-server

Run by a container runtime, with CNI_COMMAND in the environment and the network
configuration on stdin. By hand:

  cluster-ipam flush [--node-file FILE] [--state-dir DIR]
                          deliver the releases that wait in the spool;
                          exit code 1 when some are left
  cluster-ipam --version
  cluster-ipam --help
";

fn main() -> ExitCode {
    // First of all: it orders this verb among others of the node.
    let issued = boottime_ns();
    log::start();
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let words: Vec<&str> = args.iter().map(|arg| arg.to_str().unwrap_or("?")).collect();
    match words.as_slice() {
        [] => cni::plugin::main(&Ipam::new(issued)),
        ["--version" | "-V"] => say(concat!("cluster-ipam ", env!("CARGO_PKG_VERSION"), "\n")),
        ["--help" | "-h" | "help"] => say(HELP),
        ["flush", ..] => match flush_of(&args[1..]) {
            Ok(flush) => run(&flush, issued),
            Err(wrong) => misused(&wrong),
        },
        [word, ..] => misused(&format!("unknown argument {word:?}")),
    }
}

fn flush_of(args: &[OsString]) -> Result<Flush, String> {
    let mut flush = Flush::default();
    let mut rest = args.iter();
    while let Some(flag) = rest.next() {
        let place = match flag.to_str() {
            Some("--node-file") => &mut flush.node_file,
            Some("--state-dir") => &mut flush.state_dir,
            _ => return Err(format!("flush: unknown argument {flag:?}")),
        };
        let value = rest
            .next()
            .ok_or_else(|| format!("flush: {} needs a value", flag.display()))?;
        *place = Some(value.into());
    }
    Ok(flush)
}

fn run(flush: &Flush, issued: i64) -> ExitCode {
    match flush.run(issued, &mut io::stdout()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!(%error, "flush failed");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn misused(wrong: &str) -> ExitCode {
    // Nobody is left to tell when stderr is closed.
    let _ = write!(io::stderr(), "{wrong}\n\n{HELP}");
    ExitCode::from(2)
}
