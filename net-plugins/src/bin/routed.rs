//! The routed plugin's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&net_plugins::routed::Routed)
}
