//! Names and free text: bounded, and without the NUL that no database keeps.

use crate::error::{Error, Result};

/// The longest name of a pool or vrf, so that it fits wherever a DNS label does.
const NAME_MAX: usize = 63;

/// Whether this can be a pool's or a vrf's name.
pub(super) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= NAME_MAX
        && bytes
            .next()
            .is_some_and(|first| first.is_ascii_alphanumeric())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Refuses what cannot be a name.
pub(super) fn check_name(field: &str, text: &str) -> Result<()> {
    if is_name(text) {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{field} {}: a name has 1 to {NAME_MAX} characters, letters and digits, '.', '_' and '-', and begins with a letter or \
         digit",
        shortened(text)
    )))
}

/// Refuses text that is longer than `max` bytes or holds a NUL.
pub(super) fn check_text(field: &str, text: &str, max: usize) -> Result<()> {
    if text.len() > max {
        return Err(Error::Invalid(format!(
            "{field} {}: {} bytes, but at most {max} are kept",
            shortened(text),
            text.len()
        )));
    }
    if text.contains('\0') {
        return Err(Error::Invalid(format!(
            "{field} {}: holds a NUL character",
            shortened(text)
        )));
    }
    Ok(())
}

/// Refuses a list of more than `max` items.
pub(super) fn check_count(field: &str, count: usize, max: usize) -> Result<()> {
    if count <= max {
        return Ok(());
    }
    Err(Error::Invalid(format!(
        "{field}: {count} items, but a pool has at most {max}"
    )))
}

/// The text quoted, its end cut off when it is long: errors are read by people.
fn shortened(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut shown: String = text.chars().take(SHOWN).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_plain() {
        let longest = "a".repeat(63);
        for good in ["a", "0", "prod-v4", "Rack_7.b", longest.as_str()] {
            assert!(is_name(good), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in [
            "",
            "-a",
            ".a",
            "_a",
            "a b",
            "a/b",
            "ä",
            "a\0",
            too_long.as_str(),
        ] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn a_long_wrong_text_is_shown_shortened() {
        let error = check_text("labels[x]", &"y".repeat(2000), 1024).expect_err("too long");
        let text = error.to_string();
        assert!(text.contains("2000 bytes") && text.len() < 200, "{text}");
    }
}
