//! The ciphers of `EncryptInterceptor`: Java's names for RustCrypto's algorithms.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;

use aes::{Aes128, Aes192, Aes256};
use aes_gcm::AesGcm;
use aes_gcm::aead::AeadInOut;
use cipher::array::{Array, ArraySize};
use cipher::consts::U12;
use cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, InnerIvInit,
    KeyInit,
};
use des::TdesEde3;

/// Longest initialization vector.
pub const IV_MAX: usize = 16;
/// Length of GCM's tag.
const TAG: usize = 16;

/// How a block cipher is made to take whole messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Gcm,
    Cbc,
    Cfb,
    Ofb,
}

/// A block cipher by Java's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Aes,
    DesEde,
}

/// `encryptionAlgorithm`: `alg/mode/padding`, in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Algorithm {
    block: Block,
    mode: Mode,
}

/// Why an algorithm or a key cannot be used, and what can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CipherError {
    /// Not of the form `alg/mode/padding`.
    NotThreeParts,
    /// This block cipher is not known here.
    UnknownCipher,
    /// This mode gives no confidentiality with one key for many messages (ECB), or Tomcat refuses it.
    RefusedMode,
    /// The mode does not go with the padding.
    Padding,
    /// GCM needs a cipher with blocks of 16 bytes.
    GcmNeedsAes,
    /// No key.
    NoKey,
    /// The key is not written as pairs of hexadecimal digits.
    KeyNotHexadecimal,
    /// The key has the wrong length, in bytes.
    KeyLength(usize),
}

impl fmt::Display for CipherError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotThreeParts => f.write_str(
                "`encryptionAlgorithm` is written algorithm/mode/padding, such as AES/GCM/NoPadding",
            ),
            Self::UnknownCipher => {
                f.write_str("`encryptionAlgorithm` begins with AES or DESede; use AES/GCM/NoPadding")
            }
            Self::RefusedMode => f.write_str(
                "`encryptionAlgorithm` has one of the modes GCM, CBC, CFB and OFB; use AES/GCM/NoPadding",
            ),
            Self::Padding => f.write_str(
                "`encryptionAlgorithm` takes NoPadding with GCM, and PKCS5Padding with CBC, CFB and OFB",
            ),
            Self::GcmNeedsAes => f.write_str("GCM needs AES; use AES/GCM/NoPadding"),
            Self::NoKey => f.write_str(
                "`encryptionKey` is missing; give every member the same 32, 48 or 64 hexadecimal digits",
            ),
            Self::KeyNotHexadecimal => {
                f.write_str("`encryptionKey` is written as pairs of hexadecimal digits")
            }
            Self::KeyLength(bytes) => write!(
                f,
                "`encryptionKey` has {bytes} bytes; AES takes 16, 24 or 32 (32, 48 or 64 hexadecimal digits), DESede 24"
            ),
        }
    }
}

impl core::error::Error for CipherError {}

impl Algorithm {
    /// Reads Java's name.
    pub(crate) fn parse(text: &str) -> Result<Self, CipherError> {
        let mut parts = text.trim().split('/').map(str::trim);
        let (Some(block), Some(mode), Some(padding), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(CipherError::NotThreeParts);
        };
        let is = |text: &str, name: &str| text.eq_ignore_ascii_case(name);
        let block = match block {
            block if is(block, "AES") => Block::Aes,
            block if is(block, "DESede") || is(block, "TripleDES") => Block::DesEde,
            _ => return Err(CipherError::UnknownCipher),
        };
        let mode = [
            ("GCM", Mode::Gcm),
            ("CBC", Mode::Cbc),
            ("CFB", Mode::Cfb),
            ("OFB", Mode::Ofb),
        ]
        .into_iter()
        .find(|(name, _)| is(mode, name))
        .map(|(_, mode)| mode)
        .ok_or(CipherError::RefusedMode)?;
        let wanted = match mode {
            Mode::Gcm => "NoPadding",
            Mode::Cbc | Mode::Cfb | Mode::Ofb => "PKCS5Padding",
        };
        if !is(padding, wanted) {
            return Err(CipherError::Padding);
        }
        if mode == Mode::Gcm && block != Block::Aes {
            return Err(CipherError::GcmNeedsAes);
        }
        Ok(Self { block, mode })
    }

    /// Bytes of an initialization vector.
    pub(crate) const fn iv_len(self) -> usize {
        match (self.mode, self.block) {
            (Mode::Gcm, _) => 12,
            (_, Block::Aes) => 16,
            (_, Block::DesEde) => 8,
        }
    }

    /// Whether a changed message is recognised.
    pub(crate) const fn is_authenticated(self) -> bool {
        matches!(self.mode, Mode::Gcm)
    }
}

/// The key with its schedule.
enum Keyed {
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
    Gcm128(AesGcm<Aes128, U12>),
    Gcm192(AesGcm<Aes192, U12>),
    Gcm256(AesGcm<Aes256, U12>),
    DesEde(TdesEde3),
}

/// An algorithm with a key: turns bytes into ciphertext and back.
pub(crate) struct Cipher {
    algorithm: Algorithm,
    keyed: Box<Keyed>,
}

impl fmt::Debug for Cipher {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cipher")
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// The ciphertext does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Cipher {
    pub(crate) fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, CipherError> {
        let keyed = match (algorithm.block, algorithm.mode) {
            (Block::Aes, Mode::Gcm) => keyed(key, Keyed::Gcm128)
                .or_else(|| keyed(key, Keyed::Gcm192))
                .or_else(|| keyed(key, Keyed::Gcm256)),
            (Block::Aes, _) => keyed(key, Keyed::Aes128)
                .or_else(|| keyed(key, Keyed::Aes192))
                .or_else(|| keyed(key, Keyed::Aes256)),
            (Block::DesEde, _) => keyed(key, Keyed::DesEde),
        };
        Ok(Self {
            algorithm,
            keyed: Box::new(keyed.ok_or(CipherError::KeyLength(key.len()))?),
        })
    }

    pub(crate) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Encrypts `message` from `from` on, in place; padding or tag is appended. `iv` has the algorithm's length.
    pub(crate) fn seal(&self, iv: &[u8], message: &mut Vec<u8>, from: usize) -> Result<(), Closed> {
        if self.algorithm.is_authenticated() {
            let body = message.get_mut(from..).ok_or(Closed)?;
            let tag = match &*self.keyed {
                Keyed::Gcm128(gcm) => seal_gcm(gcm, iv, body),
                Keyed::Gcm192(gcm) => seal_gcm(gcm, iv, body),
                Keyed::Gcm256(gcm) => seal_gcm(gcm, iv, body),
                _ => Err(Closed),
            }?;
            message.extend_from_slice(&tag);
            return Ok(());
        }
        let block = self.algorithm.iv_len();
        let len = message.len().saturating_sub(from);
        let padding = block.saturating_sub(len.checked_rem(block).unwrap_or(0));
        message.resize(message.len().saturating_add(padding), padding as u8);
        let body = message.get_mut(from..).ok_or(Closed)?;
        let mode = self.algorithm.mode;
        match &*self.keyed {
            Keyed::Aes128(aes) => seal_blocks(aes, mode, iv, body),
            Keyed::Aes192(aes) => seal_blocks(aes, mode, iv, body),
            Keyed::Aes256(aes) => seal_blocks(aes, mode, iv, body),
            Keyed::DesEde(des) => seal_blocks(des, mode, iv, body),
            _ => Err(Closed),
        }
    }

    /// Decrypts `body` in place; where the plaintext lies in it.
    pub(crate) fn open(&self, iv: &[u8], body: &mut [u8]) -> Result<Range<usize>, Closed> {
        if self.algorithm.is_authenticated() {
            let len = body.len().checked_sub(TAG).ok_or(Closed)?;
            let (text, tag) = body.split_at_mut_checked(len).ok_or(Closed)?;
            match &*self.keyed {
                Keyed::Gcm128(gcm) => open_gcm(gcm, iv, text, tag),
                Keyed::Gcm192(gcm) => open_gcm(gcm, iv, text, tag),
                Keyed::Gcm256(gcm) => open_gcm(gcm, iv, text, tag),
                _ => Err(Closed),
            }?;
            return Ok(0..len);
        }
        let block = self.algorithm.iv_len();
        if body.is_empty() || body.len().checked_rem(block) != Some(0) {
            return Err(Closed);
        }
        let mode = self.algorithm.mode;
        match &*self.keyed {
            Keyed::Aes128(aes) => open_blocks(aes, mode, iv, body),
            Keyed::Aes192(aes) => open_blocks(aes, mode, iv, body),
            Keyed::Aes256(aes) => open_blocks(aes, mode, iv, body),
            Keyed::DesEde(des) => open_blocks(des, mode, iv, body),
            _ => Err(Closed),
        }?;
        Ok(0..unpadded(body, block)?)
    }
}

/// The length of `body` without its PKCS #5 padding.
fn unpadded(body: &[u8], block: usize) -> Result<usize, Closed> {
    let padding = usize::from(*body.last().ok_or(Closed)?);
    let len = body.len().checked_sub(padding).ok_or(Closed)?;
    let same = body
        .get(len..)
        .is_some_and(|tail| tail.iter().all(|byte| usize::from(*byte) == padding));
    if (1..=block).contains(&padding) && same {
        Ok(len)
    } else {
        Err(Closed)
    }
}

fn keyed<C: KeyInit>(key: &[u8], wrap: fn(C) -> Keyed) -> Option<Keyed> {
    C::new_from_slice(key).ok().map(wrap)
}

fn seal_gcm<C: AeadInOut>(gcm: &C, iv: &[u8], body: &mut [u8]) -> Result<[u8; TAG], Closed> {
    let nonce = iv.try_into().map_err(|_| Closed)?;
    let tag = gcm
        .encrypt_inout_detached(nonce, b"", body.into())
        .map_err(|_| Closed)?;
    tag.as_slice().try_into().map_err(|_| Closed)
}

fn open_gcm<C: AeadInOut>(gcm: &C, iv: &[u8], text: &mut [u8], tag: &[u8]) -> Result<(), Closed> {
    let nonce = iv.try_into().map_err(|_| Closed)?;
    let tag = tag.try_into().map_err(|_| Closed)?;
    gcm.decrypt_inout_detached(nonce, b"", text.into(), tag)
        .map_err(|_| Closed)
}

fn seal_blocks<C: BlockCipherEncrypt>(
    cipher: &C,
    mode: Mode,
    iv: &[u8],
    body: &mut [u8],
) -> Result<(), Closed> {
    let iv = iv.try_into().map_err(|_| Closed)?;
    let blocks = blocks::<C::BlockSize>(body);
    match mode {
        Mode::Cbc => cbc::Encryptor::inner_iv_init(cipher, iv).encrypt_blocks(blocks),
        Mode::Cfb => cfb_mode::Encryptor::inner_iv_init(cipher, iv).encrypt_blocks(blocks),
        Mode::Ofb => ofb::OfbCore::inner_iv_init(cipher, iv).encrypt_blocks(blocks),
        Mode::Gcm => return Err(Closed),
    }
    Ok(())
}

fn open_blocks<C: BlockCipherEncrypt + BlockCipherDecrypt>(
    cipher: &C,
    mode: Mode,
    iv: &[u8],
    body: &mut [u8],
) -> Result<(), Closed> {
    let iv = iv.try_into().map_err(|_| Closed)?;
    let blocks = blocks::<C::BlockSize>(body);
    match mode {
        Mode::Cbc => cbc::Decryptor::inner_iv_init(cipher, iv).decrypt_blocks(blocks),
        Mode::Cfb => cfb_mode::Decryptor::inner_iv_init(cipher, iv).decrypt_blocks(blocks),
        Mode::Ofb => ofb::OfbCore::inner_iv_init(cipher, iv).decrypt_blocks(blocks),
        Mode::Gcm => return Err(Closed),
    }
    Ok(())
}

/// The whole blocks of `body`.
fn blocks<N: ArraySize>(body: &mut [u8]) -> &mut [Array<u8, N>] {
    Array::slice_as_chunks_mut(body).0
}

/// The bytes of a key as Tomcat's configuration has it: hexadecimal digits of any case, blanks around them ignored.
pub(crate) fn key_bytes(text: &str) -> Result<Vec<u8>, CipherError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(CipherError::NoKey);
    }
    if !text.len().is_multiple_of(2) {
        return Err(CipherError::KeyNotHexadecimal);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    text.as_bytes()
        .chunks_exact(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        })
        .collect::<Option<Vec<u8>>>()
        .ok_or(CipherError::KeyNotHexadecimal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;
    use std::vec;

    #[test]
    fn algorithms_are_those_that_tomcat_takes() {
        #[rustfmt::skip]
        let cases: &[(&str, Result<usize, CipherError>)] = &[
            ("AES/GCM/NoPadding",        Ok(12)),
            ("aes/gcm/nopadding",        Ok(12)),
            (" AES/CBC/PKCS5Padding ",   Ok(16)),
            ("AES/CFB/PKCS5Padding",     Ok(16)),
            ("AES/OFB/PKCS5Padding",     Ok(16)),
            ("DESede/CBC/PKCS5Padding",  Ok(8)),
            ("AES",                      Err(CipherError::NotThreeParts)),
            ("AES/CBC",                  Err(CipherError::NotThreeParts)),
            ("AES/CBC/PKCS5Padding/x",   Err(CipherError::NotThreeParts)),
            ("AES/ECB/PKCS5Padding",     Err(CipherError::RefusedMode)),
            ("AES/CTR/NoPadding",        Err(CipherError::RefusedMode)),
            ("AES/PCBC/PKCS5Padding",    Err(CipherError::RefusedMode)),
            ("AES/CFB8/PKCS5Padding",    Err(CipherError::RefusedMode)),
            ("AES/NONE/NoPadding",       Err(CipherError::RefusedMode)),
            ("AES/CBC/NoPadding",        Err(CipherError::Padding)),
            ("AES/GCM/PKCS5Padding",     Err(CipherError::Padding)),
            ("DESede/GCM/NoPadding",     Err(CipherError::GcmNeedsAes)),
            ("Rot13/CBC/PKCS5Padding",   Err(CipherError::UnknownCipher)),
        ];
        for (text, expected) in cases {
            let parsed = Algorithm::parse(text);
            assert_eq!(parsed.map(Algorithm::iv_len), *expected, "{text}");
        }
    }

    #[test]
    fn a_key_is_hexadecimal_and_of_a_length_the_cipher_has() {
        let cipher = |algorithm: &str, key: &str| {
            Cipher::new(Algorithm::parse(algorithm)?, &key_bytes(key)?).map(|_| ())
        };
        let (gcm, des) = ("AES/GCM/NoPadding", "DESede/CBC/PKCS5Padding");
        #[rustfmt::skip]
        let cases: &[(&str, &str, Result<(), CipherError>)] = &[
            (gcm, &"aB".repeat(16), Ok(())),
            (gcm, &"00".repeat(24), Ok(())),
            (gcm, &"00".repeat(32), Ok(())),
            (des, &"00".repeat(24), Ok(())),
            (des, &"00".repeat(16), Err(CipherError::KeyLength(16))),
            (gcm, &"00".repeat(15), Err(CipherError::KeyLength(15))),
            (gcm, "", Err(CipherError::NoKey)),
            (gcm, "abc", Err(CipherError::KeyNotHexadecimal)),
            (gcm, &"xy".repeat(16), Err(CipherError::KeyNotHexadecimal)),
            (gcm, &"é".repeat(16), Err(CipherError::KeyNotHexadecimal)),
        ];
        for (algorithm, key, expected) in cases {
            assert_eq!(cipher(algorithm, key), *expected, "{algorithm} {key}");
        }
        let long = cipher(gcm, &"00".repeat(15)).unwrap_err().to_string();
        assert!(long.contains("15 bytes") && long.contains("16, 24 or 32"));
    }

    #[test]
    fn every_length_comes_back_and_nothing_is_left_readable() {
        for algorithm in [
            "AES/GCM/NoPadding",
            "AES/CBC/PKCS5Padding",
            "AES/CFB/PKCS5Padding",
            "AES/OFB/PKCS5Padding",
            "DESede/CBC/PKCS5Padding",
        ] {
            let algorithm = Algorithm::parse(algorithm).unwrap();
            let cipher = Cipher::new(algorithm, &[7; 24]).unwrap();
            let iv = vec![3; algorithm.iv_len()];
            for len in 0..70 {
                let text = vec![b'x'; len];
                let mut message = [b"iv".to_vec(), text.clone()].concat();
                cipher.seal(&iv, &mut message, 2).unwrap();
                assert!(message.len() > len + 2 && !message[2..].starts_with(b"xxxxxxxx"));
                let mut body = message[2..].to_vec();
                let range = cipher.open(&iv, &mut body).unwrap();
                assert_eq!(body[range], text);
            }
        }
    }

    #[test]
    fn padding_is_checked_to_its_last_byte() {
        #[rustfmt::skip]
        let cases: &[(&[u8], Result<usize, Closed>)] = &[
            (&[1, 2, 3, 1], Ok(3)),
            (&[1, 2, 2, 2], Ok(2)),
            (&[4, 4, 4, 4], Ok(0)),
            (&[1, 2, 3, 2], Err(Closed)),
            (&[1, 2, 3, 0], Err(Closed)),
            (&[5, 5, 5, 5], Err(Closed)),
            (&[],           Err(Closed)),
        ];
        for (body, expected) in cases {
            assert_eq!(unpadded(body, 4), *expected, "{body:?}");
        }
    }
}
