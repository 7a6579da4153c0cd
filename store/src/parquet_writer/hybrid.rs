//! Parquet's hybrid of runs and packed bits, in which it keeps levels and places in dictionaries.
//!
//! Source: parquet-format, Encodings.md, "Run Length Encoding / Bit-Packing Hybrid".

/// Values that are packed at a time, by the format.
const PACKED_VALUES: usize = 8;
/// Equal values from which they are written as a run: two packs, so that a run ends few of them early.
const RUN_VALUES_MIN: usize = 2 * PACKED_VALUES;

/// The bits of the largest of the values; at least one, which every reader takes.
pub(super) fn bit_width(largest: u32) -> u8 {
    let bits = u32::BITS - largest.leading_zeros();
    u8::try_from(bits).unwrap_or(u8::MAX).max(1)
}

/// Appends the values, each of at most `width` bits.
pub(super) fn encode<T: Copy + PartialEq + Into<u32>>(values: &[T], width: u8, out: &mut Vec<u8>) {
    let mut packed = 0;
    let mut at = 0;
    while at < values.len() {
        let run = run_at(&values[at..]);
        if run < RUN_VALUES_MIN {
            at = values.len().min(at + PACKED_VALUES);
            continue;
        }
        pack(&values[packed..at], width, out);
        push_varint(run << 1, out);
        let value: u32 = values[at].into();
        out.extend_from_slice(&value.to_le_bytes()[..usize::from(width).div_ceil(8)]);
        at += run;
        packed = at;
    }
    pack(&values[packed..], width, out);
}

/// How many of the first values are equal, where that makes a run; else less.
#[inline]
fn run_at<T: Copy + PartialEq>(values: &[T]) -> usize {
    match (values.first(), values.get(RUN_VALUES_MIN - 1)) {
        (Some(first), Some(last)) if first == last => {
            values.iter().take_while(|value| *value == first).count()
        }
        _ => 0,
    }
}

/// Appends packs of eight values; the last one is filled up with zeros.
fn pack<T: Copy + Into<u32>>(values: &[T], width: u8, out: &mut Vec<u8>) {
    if values.is_empty() {
        return;
    }
    let packs = values.len().div_ceil(PACKED_VALUES);
    push_varint(packs << 1 | 1, out);
    let end = out.len() + packs * usize::from(width);
    out.reserve(end + size_of::<u32>() - out.len());
    let (mut bits, mut filled) = (0_u64, 0_u32);
    for value in values {
        let value: u32 = (*value).into();
        bits |= u64::from(value) << filled;
        filled += u32::from(width);
        if filled >= u32::BITS {
            #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
            out.extend_from_slice(&(bits as u32).to_le_bytes());
            bits >>= u32::BITS;
            filled -= u32::BITS;
        }
    }
    out.extend_from_slice(&bits.to_le_bytes());
    out.resize(end, 0);
}

fn push_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        let [low, ..] = value.to_le_bytes();
        out.push(low | 0x80);
        value >>= 7;
    }
    let [last, ..] = value.to_le_bytes();
    out.push(last);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads as the format's description says, bit by bit.
    fn decode(bytes: &[u8], width: u8, count: usize) -> Vec<u32> {
        let mut bytes = bytes.iter().copied();
        let mut values = Vec::new();
        while values.len() < count {
            let (mut header, mut shift) = (0_usize, 0);
            loop {
                let byte = bytes.next().unwrap();
                header |= usize::from(byte & 0x7f) << shift;
                shift += 7;
                if byte < 0x80 {
                    break;
                }
            }
            if header & 1 == 0 {
                let mut value = [0; 4];
                for byte in value.iter_mut().take(usize::from(width).div_ceil(8)) {
                    *byte = bytes.next().unwrap();
                }
                values.extend(std::iter::repeat_n(u32::from_le_bytes(value), header >> 1));
                continue;
            }
            let packed: Vec<u8> = bytes.by_ref().take((header >> 1) * usize::from(width)).collect();
            for place in 0..(header >> 1) * PACKED_VALUES {
                let bit = |i: usize| u32::from(packed[i / 8] >> (i % 8) & 1);
                let first = place * usize::from(width);
                values.push((0..usize::from(width)).map(|i| bit(first + i) << i).sum());
            }
        }
        assert_eq!(bytes.next(), None);
        values.truncate(count);
        values
    }

    #[test]
    fn values_read_back() {
        let cases: [Vec<u32>; 7] = [
            vec![],
            vec![0],
            vec![1; 15],
            vec![1; 1_000],
            (0..999).collect(),
            (0..100).flat_map(|n| vec![n % 7; (n as usize * 13) % 41]).collect(),
            vec![u32::MAX, 0, u32::MAX, 1, 2, 3],
        ];
        for values in cases {
            let width = bit_width(values.iter().copied().max().unwrap_or(0));
            let mut out = Vec::new();
            encode(&values, width, &mut out);
            assert_eq!(decode(&out, width, values.len()), values);
        }
    }

    #[test]
    fn a_long_run_takes_a_few_bytes() {
        let mut out = Vec::new();
        encode(&[1_u8; 4_096], 1, &mut out);
        assert_eq!(out, [0x80, 0x40, 1]);
    }

    #[test]
    fn widths_are_those_of_the_largest() {
        assert_eq!([0, 1, 2, 255, 256, u32::MAX].map(bit_width), [1, 1, 2, 8, 9, 32]);
    }
}
