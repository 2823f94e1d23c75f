//! How the tour is printed: numbered steps, the commands that an admin would type, tables, and what was checked.

#![expect(
    clippy::print_stdout,
    reason = "printing the tour is what the example is for"
)]

use std::env;
use std::fmt::Write;
use std::io::{IsTerminal, stdout};

/// Columns of running text.
const WIDTH: usize = 96;

/// The printed tour, and how much of it was promised so far.
pub struct Page {
    colours: bool,
    steps: u32,
    promises: u32,
}

impl Page {
    /// An empty page. Colours are for terminals, and `NO_COLOR` is respected.
    #[expect(
        clippy::new_without_default,
        reason = "what it finds out is no default"
    )]
    pub fn new() -> Self {
        Self {
            colours: stdout().is_terminal()
                && env::var_os("NO_COLOR").is_none_or(|it| it.is_empty()),
            steps: 0,
            promises: 0,
        }
    }

    /// How many promises were kept.
    pub fn promises(&self) -> u32 {
        self.promises
    }

    /// The next step's title.
    pub fn step(&mut self, title: &str) {
        self.steps += 1;
        let title = format!("{}. {title}", self.steps);
        println!("\n{}", self.paint("1", &title));
    }

    /// Running text: what is done and why.
    pub fn say(&self, text: &str) {
        let mut line = String::new();
        for word in text.split_whitespace() {
            if line.len() + 1 + word.len() > WIDTH {
                println!("  {line}");
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        println!("  {line}");
    }

    /// Lines printed as they are: a drawing, a file.
    pub fn block(&self, text: &str) {
        println!();
        for line in text.lines() {
            println!("{}", self.paint("2", &format!("    {line}")));
        }
        println!();
    }

    /// A command that was run, or that does what was done.
    pub fn command(&self, host: &str, command: &str) {
        println!(
            "  {} {}",
            self.paint("2", &format!("{host} $")),
            self.paint("36", command)
        );
    }

    /// The last line.
    pub fn end(&self, text: &str) {
        println!("\n  {}", self.paint("1;32", text));
    }

    /// Something that was checked and held.
    pub fn promise(&mut self, text: &str) {
        self.promises += 1;
        println!("  {} {text}", self.paint("32", "✓"));
    }

    /// A table with a heading.
    pub fn table<const N: usize>(&self, heading: [&str; N], rows: &[[String; N]]) {
        let mut widths = heading.map(|cell| cell.chars().count());
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        println!();
        println!("{}", self.paint("1", &line(&heading, &widths)));
        for row in rows {
            println!("{}", line(row, &widths));
        }
        println!();
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

fn line<S: AsRef<str>>(cells: &[S], widths: &[usize]) -> String {
    let mut line = " ".to_owned();
    for (cell, width) in cells.iter().zip(widths) {
        // Writing to a string does not fail.
        let _ = write!(line, "   {:width$}", cell.as_ref());
    }
    line.trim_end().to_owned()
}
