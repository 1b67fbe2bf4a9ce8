//! Which hash slot of a cluster a key is in.

/// How many slots a cluster has.
pub(crate) const SLOTS: u16 = 16_384;

/// Returns the slot of a key: that of the text in its first `{…}`, or of the whole key if there is
/// none or it is empty. Source: the Redis Cluster specification, "Key distribution model".
pub(crate) fn slot_of(key: &[u8]) -> u16 {
    crc16(tag(key).unwrap_or(key)) % SLOTS
}

fn tag(key: &[u8]) -> Option<&[u8]> {
    let (_, rest) = key.split_at_checked(key.iter().position(|&byte| byte == b'{')? + 1)?;
    let end = rest.iter().position(|&byte| byte == b'}')?;
    rest.get(..end).filter(|tag| !tag.is_empty())
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| {
        let [high, low] = crc.to_be_bytes();
        u16::from_be_bytes([low, 0]) ^ TABLE[usize::from(high ^ byte)]
    })
}

/// What each value of a byte contributes.
static TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut at = 0;
    let mut byte: u16 = 0;
    while at < table.len() {
        let mut crc = byte << 8;
        let mut bit = 0;
        while bit < 8 {
            let carry = crc & 0x8000 != 0;
            crc <<= 1;
            if carry {
                crc ^= 0x1021;
            }
            bit += 1;
        }
        table[at] = crc;
        at += 1;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slots_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3, "the check value of the algorithm");
        assert_eq!(slot_of(b"foo"), 12_182, "as CLUSTER KEYSLOT says");
        assert_eq!(slot_of(b""), 0, "nothing");
    }

    #[test]
    fn a_tag_decides_unless_it_is_empty_or_open() {
        assert_eq!(slot_of(b"a:{foo}:b"), slot_of(b"foo"), "a tag");
        assert_eq!(slot_of(b"{foo}{bar}"), slot_of(b"foo"), "the first one");
        assert_eq!(slot_of(b"{{foo}}"), slot_of(b"{foo"), "from the first brace");
        assert_eq!(slot_of(b"a{}{foo}"), crc16(b"a{}{foo}") % SLOTS, "an empty one");
        assert_eq!(slot_of(b"a{foo"), crc16(b"a{foo") % SLOTS, "an open one");
    }
}
