//! The wire form of protobuf: reading fields one by one, writing them.

/// The value of a field on the wire.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32(u32),
    Len(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The bytes of a string, a message or packed numbers.
    pub(crate) fn bytes(self) -> Option<&'a [u8]> {
        if let Self::Len(bytes) = self { Some(bytes) } else { None }
    }
}

/// Bytes that are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The fields of a message, in the order of the wire. Ends after the first `Malformed`.
pub(crate) struct Fields<'a> {
    rest: &'a [u8],
}

/// Reads the fields of a message.
pub(crate) fn fields(bytes: &[u8]) -> Fields<'_> {
    Fields { rest: bytes }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u32, Value<'a>)> {
        let tag = varint(&mut self.rest)?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| *n > 0)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut self.rest)?),
            1 => Value::Fixed64(u64::from_le_bytes(*self.rest.split_off(..8)?.first_chunk()?)),
            2 => {
                let len = usize::try_from(varint(&mut self.rest)?).ok()?;
                Value::Len(self.rest.split_off(..len)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(*self.rest.split_off(..4)?.first_chunk()?)),
            _ => return None,
        };
        Some((number, value))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or(Malformed))
    }
}

/// Takes a varint off the front; None if there is none.
pub(crate) fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..70).step_by(7) {
        let byte = *rest.split_off_first()?;
        // The tenth byte holds the last bit only.
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The last occurrence of a length-delimited field, as protobuf reads a field that is not repeated.
pub(crate) fn last_bytes(bytes: &[u8], number: u32) -> Option<&[u8]> {
    fields(bytes).flatten().filter(|(n, _)| *n == number).filter_map(|(_, v)| v.bytes()).last()
}

/// The last occurrence of a string field; empty if it is unset or no text.
pub(crate) fn last_text(bytes: &[u8], number: u32) -> &str {
    last_bytes(bytes, number).and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default()
}

/// The last occurrence of a varint field; 0 if it is unset.
pub(crate) fn last_varint(bytes: &[u8], number: u32) -> u64 {
    let values = fields(bytes).flatten().filter(|(n, _)| *n == number);
    values.filter_map(|(_, v)| if let Value::Varint(v) = v { Some(v) } else { None }).last().unwrap_or_default()
}

/// Appends a varint.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        // The cast keeps the low seven bits on purpose.
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends the tag of a field.
pub(crate) fn put_tag(out: &mut Vec<u8>, number: u32, wire_type: u8) {
    put_varint(out, u64::from(number) << 3 | u64::from(wire_type));
}

/// Appends a varint field.
pub(crate) fn put_varint_field(out: &mut Vec<u8>, number: u32, value: u64) {
    put_tag(out, number, 0);
    put_varint(out, value);
}

/// Appends a length-delimited field.
pub(crate) fn put_bytes_field(out: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    put_tag(out, number, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Starts a length-delimited field whose length is not known yet; give what is returned to `close`.
pub(crate) fn open(out: &mut Vec<u8>, number: u32) -> usize {
    put_tag(out, number, 2);
    out.push(0);
    out.len()
}

/// Ends a field that `open` started at `start`: most are short, so one byte was set aside for the length.
pub(crate) fn close(out: &mut Vec<u8>, start: usize) {
    let len = out.len() - start;
    if len < 0x80 {
        if let Some(byte) = start.checked_sub(1).and_then(|at| out.get_mut(at)) {
            *byte = len as u8;
        }
        return;
    }
    let mut prefix = Vec::with_capacity(5);
    put_varint(&mut prefix, len as u64);
    out.splice(start - 1..start, prefix);
}

/// The number a `sint` field stands for.
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// The form of a number in a `sint` field.
pub(crate) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn writes_what_it_reads() {
        for len in [0, 1, 127, 128, 20_000] {
            let mut out = Vec::new();
            put_varint_field(&mut out, 1, 300);
            let start = open(&mut out, 2);
            out.extend(std::iter::repeat_n(7, len));
            close(&mut out, start);
            put_bytes_field(&mut out, 99, b"x");
            let got: Vec<_> = fields(&out).map(Result::unwrap).collect();
            assert_eq!(got.len(), 3);
            assert_eq!(got[0], (1, Value::Varint(300)));
            assert_eq!(got[1].1.bytes().unwrap().len(), len);
            assert_eq!(last_text(&out, 99), "x");
        }
    }

    #[test]
    fn malformed_bytes_end_the_walk() {
        for bytes in [&[0x0a, 5, 1][..], &[0x08], &[0xff; 11], &[0x00, 1], &[0x0b], &[0x09, 1, 2]] {
            assert_eq!(fields(bytes).last().unwrap(), Err(Malformed), "{bytes:?}");
        }
    }

    #[test]
    fn zigzag_both_ways() {
        for n in [0, -1, 1, i64::MIN, i64::MAX] {
            assert_eq!(unzigzag(zigzag(n)), n);
        }
    }
}
