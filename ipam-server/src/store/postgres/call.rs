//! A call of a statement that the connection has prepared, as text: calls can be sent several at a time, where a statement
//! with bound values is a round trip of its own.

use std::fmt::{Display, Write};

use crate::store::addr::Addr;
use crate::store::moment::Moment;

/// `execute NAME(…)`, its values added in their order.
pub(crate) struct Call {
    text: String,
    separator: char,
}

impl Call {
    pub(crate) fn of(name: &str) -> Self {
        Self {
            text: format!("execute {name}"),
            separator: '(',
        }
    }

    /// The call, all of its values given.
    pub(crate) fn text(mut self) -> String {
        self.text.push(')');
        self.text
    }

    /// Whether that is the text of a call with these values, and perhaps with more.
    pub(crate) fn begins(&self, text: &str) -> bool {
        let rest = text.strip_prefix(self.text.as_str());
        rest.is_some_and(|rest| rest.starts_with(['(', ',', ')']))
    }

    /// A value that is no text: digits, a time.
    pub(crate) fn value(mut self, value: impl Value) -> Self {
        self.next();
        self.text.push('\'');
        value.write(&mut self.text);
        self.text.push('\'');
        self
    }

    /// A text.
    pub(crate) fn word(mut self, word: &str) -> Self {
        self.next();
        self.text.push('\'');
        push_quoted(&mut self.text, word, &['\'']);
        self.text.push('\'');
        self
    }

    /// An array of what is no text.
    pub(crate) fn values<V: Value>(self, values: impl Iterator<Item = V>) -> Self {
        self.some_values(values.map(Some))
    }

    /// An array of what is no text, with nulls. Nulls at the end are left out: `unnest` adds as many as there are rows.
    pub(crate) fn some_values<V: Value>(self, values: impl Iterator<Item = Option<V>>) -> Self {
        self.array(values, |text, value| value.write(text))
    }

    /// An array of texts.
    pub(crate) fn words<'a>(self, words: impl Iterator<Item = &'a str>) -> Self {
        self.some_words(words.map(Some))
    }

    /// An array of texts, with nulls. Nulls at the end are left out: `unnest` adds as many as there are rows.
    pub(crate) fn some_words<'a>(self, words: impl Iterator<Item = Option<&'a str>>) -> Self {
        self.array(words, |text, word| {
            text.push('"');
            push_quoted(text, word, &['\'', '"', '\\']);
            text.push('"');
        })
    }

    fn array<T>(
        mut self,
        items: impl Iterator<Item = Option<T>>,
        write: impl Fn(&mut String, T),
    ) -> Self {
        self.next();
        self.text.push_str("'{");
        let (mut nulls, mut separator) = (0, "");
        for item in items {
            let Some(item) = item else {
                nulls += 1;
                continue;
            };
            for _ in 0..std::mem::take(&mut nulls) {
                self.text.push_str(separator);
                self.text.push_str("null");
                separator = ",";
            }
            self.text.push_str(separator);
            separator = ",";
            write(&mut self.text, item);
        }
        self.text.push_str("}'");
        self
    }

    fn next(&mut self) {
        self.text.push(self.separator);
        self.separator = ',';
    }
}

/// Adds a word; what ends a text or an item of an array is escaped as PostgreSQL reads it with `standard_conforming_strings`
/// (our connections set that): a quote by another one, everything else by a backslash.
fn push_quoted(text: &mut String, word: &str, specials: &[char]) {
    let mut rest = word;
    while let Some(at) = rest.find(specials) {
        let (before, from) = rest.split_at(at);
        text.push_str(before);
        text.push(if from.starts_with('\'') { '\'' } else { '\\' });
        text.push_str(&from[..1]);
        rest = &from[1..];
    }
    text.push_str(rest);
}

/// What is written without anything that has to be escaped.
pub(crate) trait Value {
    fn write(&self, text: &mut String);
}

macro_rules! displayed {
    ($($type:ty)*) => {
        $(impl Value for $type {
            fn write(&self, text: &mut String) {
                push(text, self);
            }
        })*
    };
}

displayed!(i32 i64 bool uuid::Uuid Addr);

impl Value for Moment {
    fn write(&self, text: &mut String) {
        self.write_postgres(text);
    }
}

fn push(text: &mut String, value: impl Display) {
    // A string takes all that there is.
    let _ = write!(text, "{value}");
}
