//! A hash that is the same in every build and on every machine: it names files and spreads nodes over servers, so that
//! std's (which may change with the compiler) will not do.

/// FNV-1a over the parts; ("a", "bc") and ("ab", "c") differ.
pub(crate) fn stable(parts: &[&str]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for part in parts {
        // 0xff is no byte of UTF-8, so that it ends a part unmistakably.
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::stable;

    #[test]
    fn the_hash_is_stable_and_knows_where_parts_end() {
        assert_eq!(stable(&[]), 0xcbf2_9ce4_8422_2325);
        assert_eq!(stable(&["node-1"]), stable(&["node-1"]));
        assert_ne!(stable(&["a", "bc"]), stable(&["ab", "c"]));
        assert_ne!(stable(&["a"]), stable(&["a", ""]));
    }
}
