//! `CNI_ARGS`: `K=V;K2=V2`, the old way to hand a plugin options for one container.

use crate::error::Error;

const IGNORE_UNKNOWN: &str = "IgnoreUnknown";

/// The pairs of one `CNI_ARGS`. Keys are case-sensitive; of a repeated key the last value counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    pairs: Vec<(String, String)>,
}

impl Args {
    /// Strict reading, for ADD and CHECK: a piece without exactly one `=`, and a key that is not in `known` unless
    /// `IgnoreUnknown` is true, are errors (code 4).
    pub fn parse(raw: &str, known: &[&str]) -> Result<Args, Error> {
        let mut args = Args::default();
        if raw.is_empty() {
            return Ok(args);
        }
        for piece in raw.split(';') {
            let pair =
                split(piece).ok_or_else(|| bad(raw, format!("ARGS: invalid pair {piece:?}")))?;
            args.pairs.push(pair);
        }
        if args.ignores_unknown(raw)? {
            return Ok(args);
        }
        let unknown: Vec<_> = (args.pairs.iter())
            .filter(|(key, _)| key != IGNORE_UNKNOWN && !known.contains(&key.as_str()))
            .map(|(key, value)| format!("{:?}", format!("{key}={value}")))
            .collect();
        if unknown.is_empty() {
            return Ok(args);
        }
        Err(bad(
            raw,
            format!("ARGS: unknown args [{}]", unknown.join(" ")),
        ))
    }

    /// Reading that never fails, for DEL: what is no pair is skipped, no key is unknown.
    pub fn parse_lenient(raw: &str) -> Args {
        Args {
            pairs: raw.split(';').filter_map(split).collect(),
        }
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        let (_, value) = self.pairs.iter().rev().find(|(k, _)| k == key)?;
        Some(value)
    }

    fn ignores_unknown(&self, raw: &str) -> Result<bool, Error> {
        match self
            .get(IGNORE_UNKNOWN)
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            None | Some("0" | "false") => Ok(false),
            Some("1" | "true") => Ok(true),
            Some(other) => Err(bad(
                raw,
                format!("ARGS: {IGNORE_UNKNOWN} is {other:?}, must be 1, true, 0 or false"),
            )),
        }
    }
}

fn split(piece: &str) -> Option<(String, String)> {
    let (key, value) = piece.split_once('=')?;
    (!value.contains('=')).then(|| (key.to_owned(), value.to_owned()))
}

fn bad(raw: &str, msg: String) -> Error {
    Error::environment(msg).with_details(format!("CNI_ARGS={raw:?}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]
    use super::*;

    #[test]
    fn known_keys_are_read_and_the_last_one_counts() {
        let args = Args::parse("IP=10.0.0.5;MAC=;IP=10.0.0.6", &["IP", "MAC"]).unwrap();
        assert_eq!(args.get("IP"), Some("10.0.0.6"));
        assert_eq!(args.get("MAC"), Some(""));
        assert_eq!(args.get("ip"), None);
        assert_eq!(Args::parse("", &[]), Ok(Args::default()));
    }

    #[test]
    fn a_piece_that_is_no_pair_is_named() {
        for (raw, msg) in [
            ("a", r#"ARGS: invalid pair "a""#),
            ("IP=1;a=b=c", r#"ARGS: invalid pair "a=b=c""#),
            ("IP=1;", r#"ARGS: invalid pair """#),
        ] {
            let error = Args::parse(raw, &["IP"]).unwrap_err();
            assert_eq!((error.code, error.msg.as_str()), (4, msg));
        }
    }

    #[test]
    fn unknown_keys_are_named_unless_they_are_to_be_ignored() {
        let error = Args::parse("X=y;IP=1;Z=", &["IP"]).unwrap_err();
        assert_eq!(error.msg, r#"ARGS: unknown args ["X=y" "Z="]"#);
        assert_eq!(error.details, r#"CNI_ARGS="X=y;IP=1;Z=""#);
        for yes in ["1", "true", "TRUE", "True"] {
            let args = Args::parse(&format!("X=y;IgnoreUnknown={yes}"), &[]).unwrap();
            assert_eq!(args.get("X"), Some("y"));
        }
        for no in ["0", "false", "False"] {
            let error = Args::parse(&format!("IgnoreUnknown={no};X=y"), &[]).unwrap_err();
            assert_eq!(error.msg, r#"ARGS: unknown args ["X=y"]"#);
        }
        assert!(Args::parse("IgnoreUnknown=yes", &[]).is_err());
    }

    #[test]
    fn the_lenient_reading_takes_what_it_understands() {
        let args = Args::parse_lenient("a;;X=y;b=c=d;IgnoreUnknown=zzz;IP=1");
        assert_eq!(args.get("IP"), Some("1"));
        assert_eq!(args.get("X"), Some("y"));
        assert_eq!(args.get("b"), None);
    }
}
