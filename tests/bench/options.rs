//! What the command line asks for.

use std::path::PathBuf;

/// How the result is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Table,
    Json,
    Markdown,
}

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) form: Form,
    /// A first look: fewer and shorter measurements, and nothing that takes minutes.
    pub(crate) quick: bool,
    /// Also what takes many minutes.
    pub(crate) long: bool,
    /// Beginnings of row names; empty is all of them.
    pub(crate) only: Vec<String>,
    /// Where to draw the curves, instead of measuring the table.
    pub(crate) curves: Option<PathBuf>,
}

const HELP: &str = "\
cargo bench -- [--quick | --long] [--only ROW]… [--json | --markdown]
cargo bench -- [--quick] --curves FILE

  --quick        a first look within two minutes: fewer samples, no million leases
  --long         also two servers, returned addresses, and ten million claims and releases
  --only ROW     only the rows whose names begin so; may be repeated
  --curves FILE  not the table, but how times grow: a picture (SVG)
  --json         the result as JSON
  --markdown     the result as README.md shows it";

impl Options {
    /// Reads the arguments; what to say instead of running, when there is something.
    pub(crate) fn read(args: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            form: Form::Table,
            quick: false,
            long: false,
            only: Vec::new(),
            curves: None,
        };
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.as_str() {
                // Cargo's own.
                "--bench" => {}
                "--quick" => options.quick = true,
                "--long" => options.long = true,
                "--json" => options.form = Form::Json,
                "--markdown" => options.form = Form::Markdown,
                "--only" => match args.next() {
                    Some(row) => options.only.push(row),
                    None => return Err(format!("--only needs the name of a row\n\n{HELP}")),
                },
                "--curves" => match args.next() {
                    Some(file) => options.curves = Some(file.into()),
                    None => return Err(format!("--curves needs a file\n\n{HELP}")),
                },
                "--help" | "-h" => return Err(HELP.to_owned()),
                other => return Err(format!("unknown argument {other:?}\n\n{HELP}")),
            }
        }
        Ok(options)
    }

    /// Whether the row is asked for.
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|wanted| row.starts_with(wanted))
    }
}
