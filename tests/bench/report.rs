//! The result: one table, for the terminal, for README.md, or as JSON.

use std::io::{self, Write};

use anyhow::Result;
use serde_json::{Value, json};

use crate::options::Form;
use crate::row::Row;

const HEADER: [&str; 7] = ["row", "what", "ours", "peer", "ratio", "goal", ""];

/// Prints what was measured where.
pub(crate) fn print(form: Form, machine: &[(&'static str, String)], rows: &[Row]) -> Result<()> {
    let text = match form {
        Form::Json => format!("{:#}\n", as_json(machine, rows)),
        Form::Table => table(machine, rows),
        Form::Markdown => markdown(machine, rows),
    };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

fn as_json(machine: &[(&'static str, String)], rows: &[Row]) -> Value {
    let machine: serde_json::Map<_, _> = machine
        .iter()
        .map(|(key, value)| ((*key).to_owned(), json!(value)))
        .collect();
    let rows: Vec<_> = rows
        .iter()
        .map(|row| {
            json!({
                "row": row.id, "what": row.what, "unit": row.unit, "ours": row.ours,
                "peer": row.peer.as_ref().map(|peer| json!({ "name": peer.name, "value": peer.value })),
                "ratio": row.ratio(), "goal": row.goal(), "met": row.is_met(), "note": row.note,
            })
        })
        .collect();
    json!({ "machine": machine, "rows": rows })
}

fn table(machine: &[(&'static str, String)], rows: &[Row]) -> String {
    let mut text = String::new();
    for (key, value) in machine {
        text += &format!("{key:<12}{value}\n");
    }
    text += "\n";
    let lines: Vec<[String; 7]> = std::iter::once(HEADER.map(str::to_owned))
        .chain(rows.iter().map(cells))
        .collect();
    let width = |column: usize| {
        let widths = lines.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or_default()
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    for (line, note) in lines.iter().zip(std::iter::once("").chain(notes(rows))) {
        for (column, (cell, width)) in line.iter().zip(widths).enumerate() {
            let padding = " ".repeat(width - cell.chars().count());
            text += &match column {
                2..=4 => format!("{padding}{cell}  "),
                _ => format!("{cell}{padding}  "),
            };
        }
        text.truncate(text.trim_end().len());
        text += "\n";
        if !note.is_empty() {
            text += &format!("{:indent$}{note}\n", "", indent = widths[0] + 2);
        }
    }
    text
}

fn markdown(machine: &[(&'static str, String)], rows: &[Row]) -> String {
    let machine: Vec<_> = machine
        .iter()
        .map(|(key, value)| format!("{key}: {value}"))
        .collect();
    let mut text = machine.join("; ") + ".\n\n";
    text += "| what | ours | peer | ratio | goal | |\n|---|--:|--:|--:|--:|---|\n";
    for (row, note) in rows.iter().zip(notes(rows)) {
        let [_, what, ours, peer, ratio, goal, met] = cells(row);
        let note = match note {
            "" => String::new(),
            note => format!(" ({note})"),
        };
        text += &format!("| {what}{note} | {ours} | {peer} | {ratio} | {goal} | {met} |\n");
    }
    text
}

fn notes(rows: &[Row]) -> impl Iterator<Item = &str> {
    rows.iter().map(|row| row.note.as_str())
}

fn cells(row: &Row) -> [String; 7] {
    let peer = row.peer.as_ref().map_or_else(String::new, |peer| {
        format!("{} {}", peer.name, amount(peer.value, row.unit))
    });
    [
        row.id.to_owned(),
        row.what.clone(),
        amount(row.ours, row.unit),
        peer,
        row.ratio()
            .map_or_else(String::new, |ratio| format!("{ratio:.2} ×")),
        row.goal(),
        if row.is_met() { "met" } else { "missed" }.to_owned(),
    ]
}

fn amount(value: f64, unit: &str) -> String {
    let digits = match value.abs() {
        0.0 => 0,
        small if small < 10.0 => 2,
        middle if middle < 1000.0 => 1,
        _ => 0,
    };
    format!("{value:.digits$} {unit}")
}
