//! Hardware addresses.

use std::fmt;
use std::fs::File;
use std::io::Read;

use cni::Error;

/// An Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mac([u8; 6]);

impl Mac {
    /// Reads six hexadecimal pairs with `:` or `-` between them, or three groups of four digits with dots.
    pub fn parse(text: &str) -> Option<Mac> {
        let (separator, width) = match text.chars().find(|c| !c.is_ascii_hexdigit())? {
            c @ (':' | '-') => (c, 2),
            '.' => ('.', 4),
            _ => return None,
        };
        let groups: Vec<_> = text.split(separator).collect();
        if groups.len() * width != 12 || groups.iter().any(|g| g.len() != width) {
            return None;
        }
        let digits = groups.concat();
        let byte = |i: usize| u8::from_str_radix(digits.get(2 * i..2 * i + 2)?, 16).ok();
        Some(Mac([
            byte(0)?,
            byte(1)?,
            byte(2)?,
            byte(3)?,
            byte(4)?,
            byte(5)?,
        ]))
    }

    /// The address in a netlink attribute; `None` unless it is an Ethernet one. All zeros are none.
    pub fn from_bytes(bytes: &[u8]) -> Option<Mac> {
        bytes.try_into().ok().filter(|b| *b != [0; 6]).map(Mac)
    }

    /// Its six bytes.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, f] = self.0;
        write!(out, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}")
    }
}

/// Bytes from the kernel's random source.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut bytes))
        .map_err(|e| Error::io(format!("cannot read /dev/urandom: {e}")))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_in_the_three_usual_spellings_and_nothing_else() {
        let mac = Mac([2, 0, 0xab, 0, 0, 1]);
        for text in ["02:00:ab:00:00:01", "02-00-AB-00-00-01", "0200.ab00.0001"] {
            assert_eq!(Mac::parse(text), Some(mac), "{text}");
        }
        assert_eq!(mac.to_string(), "02:00:ab:00:00:01");
        for text in [
            "",
            "zz",
            "02:00:ab:00:00",
            "02:00:ab:00:00:01:02",
            "2:0:ab:0:0:1",
            "0200ab000001",
            "02:00-ab:00:00:01",
        ] {
            assert_eq!(Mac::parse(text), None, "{text}");
        }
    }
}
