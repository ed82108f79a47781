//! Lists of CPUs and memory nodes: config.md, "execCPUAffinity"; config-linux.md, "Memory policy".

use crate::error::{Result, invalid};

/// Numbers as a list has them: ranges, both ends included, in the list's order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers(Vec<(u32, u32)>);

/// No kernel counts as far; a mask of more would only be memory.
const LARGEST: u32 = 32_767;

impl Numbers {
    /// Numbers and ranges between commas: `0-3,7`. Empty text is an empty list.
    pub fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        text.split(',').map(range).collect::<Result<_>>().map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As the kernel reads sets: bit n of word m is the number 64 * m + n.
    pub fn mask(&self) -> Vec<u64> {
        let words = self.0.iter().map(|(_, last)| last / 64 + 1).max().unwrap_or(0);
        let mut mask = vec![0u64; words as usize];
        for number in self.0.iter().flat_map(|(first, last)| *first..=*last) {
            mask[(number / 64) as usize] |= 1 << (number % 64);
        }
        mask
    }
}

fn range(text: &str) -> Result<(u32, u32)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (number(first)?, number(last)?) {
        (first, last) if first > last => Err(invalid(format!("the range {text:?} ends before it begins"))),
        range => Ok(range),
    }
}

fn number(text: &str) -> Result<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && number <= LARGEST => Ok(number),
        _ if digits => Err(invalid(format!("{text} is more than {LARGEST}"))),
        _ => Err(invalid(format!("{text:?} is not a number; a list is of the form 0-3,7"))),
    }
}

#[cfg(test)]
mod tests {
    use super::Numbers;

    fn mask(text: &str) -> Vec<u64> {
        Numbers::parse(text).unwrap().mask()
    }

    #[test]
    fn a_list_of_numbers_and_ranges_is_a_mask() {
        assert_eq!(mask(""), [0; 0]);
        assert_eq!(mask("0"), [1]);
        assert_eq!(mask("0-3,7"), [0b1000_1111]);
        assert_eq!(mask("7,0-3,2"), [0b1000_1111]);
        assert_eq!(mask("64,63"), [1 << 63, 1]);
        assert_eq!(mask("1023-1025"), [[0; 15].as_slice(), &[1 << 63], &[3]].concat());
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for bad in [
            ",",
            "0,",
            "1,,2",
            "-1",
            "1-",
            "-",
            "3-1",
            "x",
            "0 ",
            " 0",
            "0x1",
            "+1",
            "1-2-3",
            "32768",
            "9".repeat(30).as_str(),
        ] {
            assert!(Numbers::parse(bad).is_err(), "{bad:?}");
        }
        let text = |bad: &str| format!("{:#}", Numbers::parse(bad).unwrap_err());
        assert_eq!(text("3-1"), "the range \"3-1\" ends before it begins");
        assert_eq!(text("0-99999"), "99999 is more than 32767");
    }
}
