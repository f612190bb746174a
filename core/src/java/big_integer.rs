//! Integers without bounds.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

/// A `java.math.BigInteger`: an integer of any length, to be carried, shown and compared. It does no arithmetic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct BigInteger {
    negative: bool,
    /// Big-endian, without leading zeros.
    magnitude: Vec<u8>,
}

impl BigInteger {
    /// The integer with this magnitude, big-endian.
    pub fn new(negative: bool, magnitude: &[u8]) -> Self {
        let zeros = magnitude.iter().take_while(|&&byte| byte == 0).count();
        let magnitude = magnitude.get(zeros..).unwrap_or_default().to_vec();
        Self {
            negative: negative && !magnitude.is_empty(),
            magnitude,
        }
    }

    /// −1, 0 or 1.
    pub const fn signum(&self) -> i8 {
        match (self.negative, self.magnitude.is_empty()) {
            (_, true) => 0,
            (true, _) => -1,
            (false, _) => 1,
        }
    }

    /// The magnitude, big-endian, without leading zeros.
    pub fn magnitude(&self) -> &[u8] {
        &self.magnitude
    }

    /// The value, if it fits.
    pub fn to_i128(&self) -> Option<i128> {
        if self.magnitude.len() > 16 {
            return None;
        }
        let magnitude = self
            .magnitude
            .iter()
            .fold(0_u128, |sum, &byte| sum << 8 | u128::from(byte));
        match self.negative {
            true => 0_i128.checked_sub_unsigned(magnitude),
            false => i128::try_from(magnitude).ok(),
        }
    }
}

macro_rules! from_int {
    ($($int:ty)*) => {$(
        impl From<$int> for BigInteger {
            fn from(value: $int) -> Self {
                Self::from(i128::from(value))
            }
        }
    )*};
}

from_int!(i8 u8 i16 u16 i32 u32 i64 u64);

impl From<i128> for BigInteger {
    fn from(value: i128) -> Self {
        Self::new(value < 0, &value.unsigned_abs().to_be_bytes())
    }
}

impl From<u128> for BigInteger {
    fn from(value: u128) -> Self {
        Self::new(false, &value.to_be_bytes())
    }
}

/// Decimal. Takes time with the square of the length, as it does in Java.
impl fmt::Display for BigInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = Vec::new();
        let mut rest = self.magnitude.clone();
        while !rest.is_empty() {
            // Nine decimal digits at a time.
            let mut remainder = 0_u64;
            for byte in &mut rest {
                let dividend = remainder << 8 | u64::from(*byte);
                *byte = (dividend / 1_000_000_000) as u8;
                remainder = dividend % 1_000_000_000;
            }
            let zeros = rest.iter().take_while(|&&byte| byte == 0).count();
            rest.drain(..zeros);
            for _ in 0..9 {
                digits.push(b'0' + (remainder % 10) as u8);
                remainder /= 10;
            }
        }
        while digits.pop_if(|digit| *digit == b'0').is_some() {}
        let digits: String = digits.iter().rev().copied().map(char::from).collect();
        f.pad_integral(
            !self.negative,
            "",
            if digits.is_empty() { "0" } else { &digits },
        )
    }
}

/// A text that is no decimal integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoInteger;

impl fmt::Display for NoInteger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a decimal integer")
    }
}

impl core::error::Error for NoInteger {}

impl FromStr for BigInteger {
    type Err = NoInteger;

    fn from_str(text: &str) -> Result<Self, NoInteger> {
        let (negative, digits) = match text.as_bytes() {
            [b'-', digits @ ..] => (true, digits),
            [b'+', digits @ ..] | digits => (false, digits),
        };
        if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
            return Err(NoInteger);
        }
        let mut little = Vec::<u8>::new();
        for digit in digits {
            let mut carry = u16::from(digit - b'0');
            for byte in &mut little {
                let sum = u16::from(*byte) * 10 + carry;
                *byte = sum as u8;
                carry = sum >> 8;
            }
            if carry > 0 {
                little.push(carry as u8);
            }
        }
        little.reverse();
        Ok(Self::new(negative, &little))
    }
}

#[cfg(test)]
mod tests {
    use std::format;
    use std::string::ToString;

    use super::BigInteger;

    #[test]
    fn text_and_value_are_the_same_integer() {
        for value in [
            0,
            1,
            -1,
            9,
            10,
            255,
            256,
            999_999_999,
            1_000_000_000,
            i128::MAX,
            i128::MIN,
            -98_765_432_109_876_543_210,
        ] {
            let big = BigInteger::from(value);
            assert_eq!(big.to_string(), value.to_string());
            assert_eq!(value.to_string().parse(), Ok(big.clone()));
            assert_eq!(big.to_i128(), Some(value));
            assert_eq!(i128::from(big.signum()), value.signum());
        }
        let long = format!("-7{}", "0123456789".repeat(30));
        assert_eq!(
            long.parse::<BigInteger>().map(|big| big.to_string()),
            Ok(long)
        );
        for text in ["", "-", "1x", "0x1", " 1"] {
            assert!(text.parse::<BigInteger>().is_err(), "{text}");
        }
    }
}
