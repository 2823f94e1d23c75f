//! What the examples share: a tour of a cluster made of namespaces, printed step by step, of which every line with a check
//! mark was checked when it was printed.
//!
//! An example's program starts itself again: as the first process of a sandbox, and inside the containers as what runs
//! there.

pub mod machines;
pub mod page;
pub mod pod;
mod sandbox;
pub mod service;
pub mod steps;
mod web;

use std::env;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail, ensure};

use page::Page;

/// An example.
#[derive(Debug)]
pub struct Example {
    /// What it says first.
    pub about: &'static str,
    /// The tours that its one argument chooses from; without it, it is the first. None: it takes no argument.
    pub kinds: &'static [&'static str],
    /// Programs that it needs beyond those of every tour, and the Debian package of each.
    pub programs: &'static [(&'static str, &'static str)],
    /// The tour, which is given a page to print on, the folder of the built binaries, and its kind.
    pub tour: fn(&mut Page, &Path, &str) -> Result<()>,
}

impl Example {
    /// The program, from its arguments to its exit code.
    pub fn main(&self) -> ExitCode {
        let args: Vec<String> = env::args().skip(1).collect();
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        self.run(&args).unwrap_or_else(|error| {
            eprintln!("\n\x20 not as promised: {error:#}");
            ExitCode::FAILURE
        })
    }

    fn run(&self, args: &[&str]) -> Result<ExitCode> {
        match *args {
            ["tour", kind, binaries] => self.tour(kind, Path::new(binaries))?,
            ["serve", name] => web::serve(name)?,
            ["fetch", address] => web::fetch(address)?,
            [] => return sandbox::run(self, self.kinds.first().copied().unwrap_or_default()),
            [kind] if self.kinds.contains(&kind) => return sandbox::run(self, kind),
            _ => bail!("the example takes {:?}, and was given {args:?}", self.kinds),
        }
        Ok(ExitCode::SUCCESS)
    }

    fn tour(&self, kind: &str, binaries: &Path) -> Result<()> {
        let mut page = Page::new();
        (self.tour)(&mut page, binaries, kind)?;
        ensure!(page.promises() > 0, "nothing was promised");
        page.end(&format!("All {} promises were kept.", page.promises()));
        Ok(())
    }
}
