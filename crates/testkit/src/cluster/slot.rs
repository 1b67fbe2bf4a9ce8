//! Which slot a key is in: CRC16 of the key, or of its hash tag.

/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// The slot of a key in a cluster: that of the part in the first `{…}`, unless it is empty, else of
/// the key.
pub fn slot_of(key: impl AsRef<[u8]>) -> u16 {
    let key = key.as_ref();
    crc16(tag(key).unwrap_or(key)) % SLOTS
}

fn tag(key: &[u8]) -> Option<&[u8]> {
    let rest = &key[key.iter().position(|&byte| byte == b'{')? + 1..];
    let end = rest.iter().position(|&byte| byte == b'}')?;
    (end > 0).then(|| &rest[..end])
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                crc << 1 ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_known_value() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of("foo"), 12_182);
    }

    #[test]
    fn a_tag_decides_unless_it_is_empty_or_open() {
        assert_eq!(slot_of("a:{foo}:b"), slot_of("foo"));
        assert_eq!(slot_of("{foo}{bar}"), slot_of("foo"));
        assert_eq!(slot_of("{{foo}}"), slot_of("{foo"));
        assert_eq!(slot_of("a{}{foo}"), crc16(b"a{}{foo}") % SLOTS);
        assert_eq!(slot_of("a{foo"), crc16(b"a{foo") % SLOTS);
    }
}
