//! `EncryptInterceptor`: messages that only holders of the key can read.
//!
//! | bytes | content |
//! |---|---|
//! | 12 (GCM), else the cipher's block | initialization vector |
//! | | ciphertext of the timestamp (8 bytes, ms since the Unix epoch) and the message, padded but with GCM |
//! | 16 (GCM only) | tag |
//!
//! Nothing else of a frame is encrypted or protected: options, ids, addresses and heartbeats are as open as ever.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use bytes::Bytes;

use super::cipher::{Algorithm, Cipher, CipherError, IV_MAX, key_bytes};
use super::message::{Body, Down, Flow, Inward, Outbound, Up, add};
use super::replay::{Iv, ReplayMemory};
use super::{InterceptorError, Refusal};
use crate::plant::{Bug, planted};

/// Bytes of the timestamp before the message.
const TIMESTAMP: usize = 8;

/// Encrypts every message with one key that all members have. Tomcat 10.1.56 and later (10.1.59 for the default algorithm).
///
/// The members' clocks must agree within [`replay_window_time`](Self::replay_window_time).
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptInterceptor {
    /// `algorithm/mode/padding` in Java's names and any case; default `AES/GCM/NoPadding`. Also
    /// `AES/CBC/PKCS5Padding` (Tomcat's default before 10.1.59), CFB and OFB, and the last three with `DESede`. Only GCM
    /// recognises a changed message.
    pub encryption_algorithm: String,
    /// The key in hexadecimal digits; for AES 32, 48 or 64 of them.
    pub encryption_key: String,
    /// How far a message's timestamp may be from our clock. 1 ms or more; default 10 s.
    pub replay_window_time: Duration,
    /// How many messages are remembered so that none counts twice. With more messages than that in
    /// [`replay_window_time`](Self::replay_window_time), one that is older than all remembered ones is refused. 1 to 16,777,216; default 8192.
    pub replay_window_message_count: usize,
}

impl EncryptInterceptor {
    /// Tomcat's defaults with this key.
    pub fn new(encryption_key: impl Into<String>) -> Self {
        Self {
            encryption_algorithm: "AES/GCM/NoPadding".to_string(),
            encryption_key: encryption_key.into(),
            replay_window_time: Duration::from_secs(10),
            replay_window_message_count: 8192,
        }
    }

    pub(crate) fn validate(&self) -> Result<(), InterceptorError> {
        MessageCipher::new(self)?;
        if self.replay_window_time < Duration::from_millis(1) {
            return Err(InterceptorError::OutOfRange(
                "replayWindowTime",
                "1 ms or more",
            ));
        }
        if !(1..=1 << 24).contains(&self.replay_window_message_count) {
            return Err(InterceptorError::OutOfRange(
                "replayWindowMessageCount",
                "1 to 16,777,216",
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for EncryptInterceptor {
    /// Without the key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptInterceptor")
            .field("encryption_algorithm", &self.encryption_algorithm)
            .field("replay_window_time", &self.replay_window_time)
            .field(
                "replay_window_message_count",
                &self.replay_window_message_count,
            )
            .finish_non_exhaustive()
    }
}

/// The format alone: turns messages into what `EncryptInterceptor` sends and back, without memory.
#[derive(Debug)]
pub struct MessageCipher {
    cipher: Cipher,
}

/// A message that the key has opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// When it was encrypted, in ms since the Unix epoch, sender's clock.
    pub timestamp_ms: u64,
    /// The message.
    pub message: Bytes,
}

impl MessageCipher {
    /// The cipher that `config` names.
    ///
    /// # Errors
    /// What is wrong with algorithm or key.
    pub fn new(config: &EncryptInterceptor) -> Result<Self, CipherError> {
        let algorithm = Algorithm::parse(&config.encryption_algorithm)?;
        let cipher = Cipher::new(algorithm, &key_bytes(&config.encryption_key)?)?;
        Ok(Self { cipher })
    }

    /// Bytes of an initialization vector; at most [`IV_MAX`].
    pub const fn iv_len(&self) -> usize {
        self.cipher.algorithm().iv_len()
    }

    /// Encrypts `message`. `iv` must never be used twice with one key; it has [`iv_len`](Self::iv_len) bytes.
    /// `None` if it has not.
    pub fn seal(&self, iv: &[u8], timestamp_ms: u64, message: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(message.len().saturating_add(GROWTH));
        out.extend_from_slice(iv);
        out.extend_from_slice(&timestamp_ms.to_be_bytes());
        out.extend_from_slice(message);
        self.cipher.seal(iv, &mut out, iv.len()).ok()?;
        Some(out)
    }

    /// Decrypts what [`seal`](Self::seal) has made.
    ///
    /// # Errors
    /// [`Refusal::NotAuthentic`] (GCM) or [`Refusal::Undecipherable`].
    pub fn open(&self, sealed: &[u8]) -> Result<Opened, Refusal> {
        let refusal = self.refusal();
        let (iv, body) = sealed.split_at_checked(self.iv_len()).ok_or(refusal)?;
        let mut body = body.to_vec();
        let text = self.cipher.open(iv, &mut body).map_err(|_| refusal)?;
        let stamp = body
            .get(text.clone())
            .and_then(|text| text.first_chunk::<TIMESTAMP>())
            .ok_or(refusal)?;
        Ok(Opened {
            timestamp_ms: u64::from_be_bytes(*stamp),
            message: Bytes::from(body).slice(text).split_off(TIMESTAMP),
        })
    }

    const fn refusal(&self) -> Refusal {
        match self.cipher.algorithm().is_authenticated() {
            true => Refusal::NotAuthentic,
            false => Refusal::Undecipherable,
        }
    }
}

/// By how many bytes a message grows at most.
const GROWTH: usize = IV_MAX + TIMESTAMP + 16;

/// The layer at work.
#[derive(Debug)]
pub(crate) struct Encrypt {
    cipher: MessageCipher,
    replay: ReplayMemory,
    /// The message that was taken last.
    last: Option<(u64, Iv)>,
}

impl Encrypt {
    pub(crate) fn new(config: &EncryptInterceptor) -> Result<Self, InterceptorError> {
        config.validate()?;
        let window = u64::try_from(config.replay_window_time.as_millis()).unwrap_or(u64::MAX);
        Ok(Self {
            cipher: MessageCipher::new(config)?,
            replay: ReplayMemory::new(window, config.replay_window_message_count),
            last: None,
        })
    }

    pub(crate) fn start(&mut self, unix_ms: u64) {
        self.replay.start(unix_ms);
    }

    pub(crate) const fn growth() -> usize {
        GROWTH
    }

    pub(crate) fn send(&self, down: &mut Down<'_>, message: &mut Outbound) {
        let mut iv = [0; IV_MAX];
        let iv = iv.get_mut(..self.cipher.iv_len()).unwrap_or_default();
        down.rng.fill(iv);
        // The length of the vector is the only thing that could be wrong.
        if let Some(sealed) = self.cipher.seal(iv, message.timestamp_ms, &message.body) {
            message.body = sealed.into();
            add(&mut down.stats.encrypt.encrypted, 1);
        }
    }

    pub(crate) fn receive<'a>(
        &mut self,
        up: &mut Up<'_>,
        mut message: Inward<'a>,
    ) -> Result<Flow<'a>, Refusal> {
        let sealed = message.body.as_slice();
        let mut iv = [0; IV_MAX];
        let given = sealed.get(..self.cipher.iv_len()).unwrap_or_default();
        if let Some(place) = iv.get_mut(..given.len()) {
            place.copy_from_slice(given);
        }
        // Before decryption: whether the rest of a known vector's message decrypts is nobody's business.
        if self.replay.knows(&iv) && !planted(Bug::ReplayTaken) {
            return Err(Refusal::Replayed);
        }
        let opened = self.cipher.open(sealed)?;
        let taken = self.replay.take(up.unix_ms, opened.timestamp_ms, iv);
        if !planted(Bug::ReplayTaken) {
            taken?;
        }
        self.last = Some((opened.timestamp_ms, iv));
        add(&mut up.stats.encrypt.decrypted, 1);
        message.body = Body::Owned(opened.message);
        Ok(Flow::Pass(message))
    }

    /// The listener has failed with the message that passed last.
    pub(crate) fn failed(&mut self) {
        if let Some((sent_ms, iv)) = self.last.take() {
            self.replay.forget(sent_ms, &iv);
        }
    }
}
