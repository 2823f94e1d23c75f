//! How nf_tables messages are written: headers in the host's byte order, attributes in network order.

pub(super) const NEW_TABLE: u16 = 0;
pub(super) const DEL_TABLE: u16 = 2;
pub(super) const NEW_CHAIN: u16 = 3;
pub(super) const GET_CHAIN: u16 = 4;
pub(super) const DEL_CHAIN: u16 = 5;
pub(super) const NEW_RULE: u16 = 6;
pub(super) const GET_RULE: u16 = 7;
pub(super) const DEL_RULE: u16 = 8;

pub(super) const GET_GENERATION: u16 = 16;

pub(super) const ACK: u16 = 0x004;
pub(super) const DUMP: u16 = 0x300;
pub(super) const CREATE: u16 = 0x400;
pub(super) const APPEND: u16 = 0x800;
const REQUEST: u16 = 0x001;
const DUMP_INTERRUPTED: u16 = 0x010;

const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const ERROR: u16 = 2;
const DONE: u16 = 3;
const NESTED: u16 = 0x8000;
const HEADER: usize = 16;
/// The header of netfilter's own that follows netlink's.
const FAMILY_HEADER: usize = 4;

/// Netlink attributes, one after the other.
#[derive(Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn new() -> Self {
        Self::default()
    }

    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        // Nothing here comes near the 64 KiB that the length can say: names are checked, data is a few bytes.
        let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), &[0]].concat())
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn nested(self, kind: u16, inner: Attributes) -> Self {
        self.bytes(kind | NESTED, &inner.0)
    }
}

/// The attributes in `bytes`, kind and value.
pub(super) fn read(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some((length, kind)) = u16_at(bytes, 0).zip(u16_at(bytes, 2)) {
        let length = usize::from(length);
        let Some(value) = bytes.get(4..length) else {
            break;
        };
        found.push((kind & !NESTED, value));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

pub(super) fn encode(
    kind: u16,
    flags: u16,
    sequence: u32,
    family: u8,
    attributes: Attributes,
) -> Vec<u8> {
    message(
        SUBSYSTEM << 8 | kind,
        flags,
        sequence,
        [family, 0, 0, 0],
        &attributes.0,
    )
}

pub(super) fn batch_begin(generation: Option<u32>) -> Vec<u8> {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    let condition = generation.map(|id| Attributes::new().number(1, id));
    message(
        BATCH_BEGIN,
        0,
        0,
        [0, 0, high, low],
        &condition.unwrap_or_default().0,
    )
}

pub(super) fn batch_end(sequence: u32) -> Vec<u8> {
    let [high, low] = SUBSYSTEM.to_be_bytes();
    message(BATCH_END, 0, sequence, [0, 0, high, low], &[])
}

fn message(kind: u16, flags: u16, sequence: u32, family: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + FAMILY_HEADER + payload.len()).unwrap_or(u32::MAX);
    let mut bytes = Vec::new();
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | REQUEST).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend(0_u32.to_ne_bytes());
    bytes.extend(family);
    bytes.extend(payload);
    bytes
}

/// A message from the kernel.
pub(super) enum Reply {
    /// A request's end; `errno` 0 is success.
    Outcome { sequence: u32, errno: i32 },
    /// One object of a listing: its attributes.
    Object { bytes: Vec<u8>, interrupted: bool },
}

/// The messages in what was received.
pub(super) fn replies(mut bytes: &[u8]) -> Vec<Reply> {
    let mut found = Vec::new();
    while let Some((length, kind)) = u32_at(bytes, 0).zip(u16_at(bytes, 4)) {
        let length = length as usize;
        let flags = u16_at(bytes, 6).unwrap_or_default();
        let sequence = u32_at(bytes, 8).unwrap_or_default();
        let Some(payload) = bytes.get(HEADER..length) else {
            break;
        };
        let interrupted = flags & DUMP_INTERRUPTED != 0;
        found.push(match kind {
            ERROR | DONE => Reply::Outcome {
                sequence,
                errno: u32_at(payload, 0).map_or(0, |n| n.cast_signed().saturating_neg()),
            },
            _ => Reply::Object {
                bytes: payload.get(FAMILY_HEADER..).unwrap_or_default().to_vec(),
                interrupted,
            },
        });
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at + 2)?;
    Some(u16::from_ne_bytes(field.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at + 4)?;
    Some(u32::from_ne_bytes(field.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_read_back_as_they_were_written() {
        let inner = Attributes::new().number(2, 7);
        let written = Attributes::new().text(1, "abc").nested(4, inner);
        let found = read(&written.0);
        assert_eq!(found[0], (1, &b"abc\0"[..]));
        assert_eq!(found[1].0, 4);
        assert_eq!(read(found[1].1), [(2, &[0, 0, 0, 7][..])]);
        assert_eq!(written.0.len(), 8 + 12);
    }

    #[test]
    fn garbage_is_no_message() {
        for bytes in [&[][..], &[1], &[255; 40], &[0; 64]] {
            assert!(read(bytes).len() <= 1);
            assert!(replies(bytes).is_empty());
        }
    }
}
