//! The bridge plugin's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    cni::plugin::main(&net_plugins::bridge::Bridge)
}
