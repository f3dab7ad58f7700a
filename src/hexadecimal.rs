//! Bytes as hexadecimal digits.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Returns two digits for each byte, in lower case.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    push_hexadecimal(&mut text, bytes);
    text
}

/// Appends two digits for each byte to the text.
pub(crate) fn push_hexadecimal(text: &mut String, bytes: &[u8]) {
    text.extend(bytes.iter().flat_map(|byte| {
        let digit = |of: u8| char::from(DIGITS[usize::from(of)]);
        [digit(byte >> 4), digit(byte & 15)]
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_two_digits() {
        for byte in 0..=u8::MAX {
            assert_eq!(hexadecimal(&[byte, byte]), format!("{byte:02x}{byte:02x}"));
        }
        assert_eq!(hexadecimal(&[]), "");
    }
}
