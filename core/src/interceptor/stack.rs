//! The layers of one channel, at work.

use alloc::vec::Vec;

#[cfg(feature = "encrypt")]
use super::encrypt::Encrypt;
use super::fragmentation::Fragmentation;
#[cfg(feature = "gzip")]
use super::gzip::Gzip;
use super::message::{Down, Flow, Inward, Outbound, Released, Up};
use super::order::{self, Order};
use super::throughput::Throughput;
use super::two_phase_commit::TwoPhaseCommit;
use super::{Interceptor, InterceptorError, InterceptorStats, Refusal};
use crate::channel::{Limits, MemberIndex};
use crate::time::Instant;

/// Most layers of a stack.
pub(crate) const LAYERS_MAX: usize = 16;

/// A layer with its state.
#[derive(Debug)]
enum Layer {
    #[cfg(feature = "encrypt")]
    Encrypt(Encrypt),
    #[cfg(feature = "gzip")]
    Gzip(Gzip),
    Fragmentation(Fragmentation),
    Order(Order),
    TwoPhaseCommit(TwoPhaseCommit),
    Throughput(Throughput),
}

impl Layer {
    /// `None` for what the channel does itself.
    fn new(config: &Interceptor, limits: &Limits) -> Result<Option<Self>, InterceptorError> {
        config.validate()?;
        Ok(Some(match config {
            #[cfg(feature = "encrypt")]
            Interceptor::Encrypt(config) => Self::Encrypt(Encrypt::new(config)?),
            #[cfg(feature = "gzip")]
            Interceptor::Gzip(config) => Self::Gzip(Gzip::new(*config)),
            Interceptor::Fragmentation(config) => Self::Fragmentation(Fragmentation::new(*config)),
            Interceptor::Order(config) => Self::Order(Order::new(*config, limits.queue_bytes_max)),
            Interceptor::TwoPhaseCommit(config) => {
                Self::TwoPhaseCommit(TwoPhaseCommit::new(*config))
            }
            Interceptor::Throughput(config) => Self::Throughput(Throughput::new(*config)),
            Interceptor::DomainFilter(_) => return Ok(None),
        }))
    }

    /// What becomes of messages on their way down.
    fn send(&mut self, down: &mut Down<'_>, batch: &mut Vec<Outbound>) {
        match self {
            #[cfg(feature = "encrypt")]
            Self::Encrypt(layer) => {
                for message in batch {
                    layer.send(down, message);
                }
            }
            #[cfg(feature = "gzip")]
            Self::Gzip(layer) => {
                for message in batch {
                    layer.send(down, message);
                }
            }
            Self::Fragmentation(layer) => {
                for message in core::mem::take(batch) {
                    layer.send(down, message, batch);
                }
            }
            Self::Order(layer) => {
                for message in core::mem::take(batch) {
                    layer.send(down, message, batch);
                }
            }
            Self::TwoPhaseCommit(layer) => {
                for message in core::mem::take(batch) {
                    layer.send(down, message, batch);
                }
            }
            Self::Throughput(layer) => {
                for message in batch {
                    layer.send(down, message);
                }
            }
        }
    }

    /// At most so large do messages become that go down.
    fn grown(&self, size: Size) -> Size {
        let Size { messages, bytes } = size;
        let each = |growth: usize| Size {
            messages,
            bytes: bytes.saturating_add(messages.saturating_mul(growth)),
        };
        match self {
            #[cfg(feature = "encrypt")]
            Self::Encrypt(_) => each(Encrypt::growth()),
            #[cfg(feature = "gzip")]
            Self::Gzip(_) => each(Gzip::growth(bytes)),
            Self::Fragmentation(layer) => {
                let messages = layer.pieces(messages, bytes);
                Size {
                    messages,
                    bytes: bytes.saturating_add(messages.saturating_mul(Fragmentation::growth())),
                }
            }
            Self::Order(_) => each(order::NUMBER),
            Self::TwoPhaseCommit(_) => Size {
                messages: messages.saturating_mul(2),
                ..each(TwoPhaseCommit::growth())
            },
            Self::Throughput(_) => size,
        }
    }

    /// What becomes of a message on its way up.
    fn receive<'a>(&mut self, up: &mut Up<'_>, message: Inward<'a>) -> Result<Flow<'a>, Refusal> {
        match self {
            #[cfg(feature = "encrypt")]
            Self::Encrypt(layer) => layer.receive(up, message),
            #[cfg(feature = "gzip")]
            Self::Gzip(layer) => layer.receive(up, message),
            Self::Fragmentation(layer) => layer.receive(up, message),
            Self::Order(layer) => layer.receive(up, message),
            Self::TwoPhaseCommit(layer) => layer.receive(up, message),
            Self::Throughput(layer) => {
                layer.receive(up, &message);
                Ok(Flow::Pass(message))
            }
        }
    }
}

/// Messages and their bytes, for one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// All layers, the first nearest to the application.
#[derive(Debug, Default)]
pub(crate) struct Stack {
    layers: Vec<Layer>,
    /// Messages that go on from a layer.
    pub(crate) released: Released,
}

impl Stack {
    /// # Errors
    /// The number of the layer (from 0) that cannot work, and why.
    pub(crate) fn new(
        configs: &[Interceptor],
        limits: &Limits,
    ) -> Result<Self, (usize, InterceptorError)> {
        if configs.len() > LAYERS_MAX {
            return Err((LAYERS_MAX, InterceptorError::TooMany(LAYERS_MAX)));
        }
        let mut layers = Vec::with_capacity(configs.len());
        for (number, config) in configs.iter().enumerate() {
            let twice = configs
                .iter()
                .take(number)
                .any(|other| matches!(other, Interceptor::TwoPhaseCommit(_)));
            if twice && matches!(config, Interceptor::TwoPhaseCommit(_)) {
                return Err((number, InterceptorError::Twice(config.class_name())));
            }
            let is_pieces = |other: &Interceptor| matches!(other, Interceptor::Fragmentation(_));
            if matches!(config, Interceptor::TwoPhaseCommit(_))
                && configs.iter().take(number).any(is_pieces)
            {
                return Err((number, InterceptorError::ConfirmsPieces));
            }
            layers.extend(Layer::new(config, limits).map_err(|error| (number, error))?);
        }
        Ok(Self {
            layers,
            released: Released::new(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.layers.len()
    }

    /// Whether a receiver takes the same bytes once only, so that a message that failed there cannot be sent again.
    pub(crate) fn refuses_repeats(&self) -> bool {
        #[cfg(feature = "encrypt")]
        if self
            .layers
            .iter()
            .any(|layer| matches!(layer, Layer::Encrypt(_)))
        {
            return true;
        }
        false
    }

    /// Whether what is sent differs by destination, or waits for answers.
    pub(crate) fn is_per_destination(&self) -> bool {
        self.layers
            .iter()
            .any(|layer| matches!(layer, Layer::Order(_) | Layer::TwoPhaseCommit(_)))
    }

    /// Whether a message is followed by one that must not overtake it.
    pub(crate) fn confirms(&self) -> bool {
        self.layers
            .iter()
            .any(|layer| matches!(layer, Layer::TwoPhaseCommit(_)))
    }

    /// Begins anew.
    pub(crate) fn start(&mut self, unix_ms: u64) {
        // Only encryption wants to know.
        let _ = unix_ms;
        self.released.clear();
        for layer in &mut self.layers {
            match layer {
                #[cfg(feature = "encrypt")]
                Layer::Encrypt(layer) => layer.start(unix_ms),
                Layer::Fragmentation(layer) => layer.start(),
                Layer::Order(layer) => layer.start(),
                Layer::TwoPhaseCommit(layer) => layer.start(),
                _ => {}
            }
        }
    }

    /// At most so large does a message of `len` bytes become.
    pub(crate) fn grown(&self, len: usize) -> Size {
        let size = Size {
            messages: 1,
            bytes: len,
        };
        self.layers
            .iter()
            .fold(size, |size, layer| layer.grown(size))
    }

    /// Sends `batch` down through the layers from number `from` on.
    pub(crate) fn send(&mut self, down: &mut Down<'_>, from: usize, batch: &mut Vec<Outbound>) {
        for (number, layer) in self.layers.iter_mut().enumerate().skip(from) {
            down.layer = number;
            layer.send(down, batch);
        }
    }

    /// Hands a message that has got up to layer `below` (which has seen it) to those above; what comes out at the top.
    pub(crate) fn receive<'a>(
        &mut self,
        up: Climb<'_>,
        below: usize,
        mut message: Inward<'a>,
    ) -> Result<Option<Inward<'a>>, Refusal> {
        let Self { layers, released } = self;
        let mut up = up.with(released);
        let layers = layers.get_mut(..below).unwrap_or_default();
        for (number, layer) in layers.iter_mut().enumerate().rev() {
            up.layer = number;
            match layer.receive(&mut up, message) {
                Ok(Flow::Pass(next)) => message = next,
                Ok(Flow::Stop) => return Ok(None),
                Err(refusal) => {
                    refusal.count(up.stats);
                    return Err(refusal);
                }
            }
        }
        Ok(Some(message))
    }

    /// The listener has failed with a message that passed all layers above `below`.
    pub(crate) fn failed(&mut self, below: usize) {
        for layer in self.layers.get_mut(..below).unwrap_or_default() {
            match layer {
                #[cfg(feature = "encrypt")]
                Layer::Encrypt(layer) => layer.failed(),
                Layer::Fragmentation(layer) => layer.failed(),
                Layer::TwoPhaseCommit(layer) => layer.failed(),
                _ => {}
            }
        }
    }

    /// How many messages wait, complete or not.
    pub(crate) fn waiting(&self) -> usize {
        let layers = self.layers.iter().map(|layer| match layer {
            Layer::Fragmentation(layer) => layer.waiting(),
            Layer::Order(layer) => layer.waiting(),
            Layer::TwoPhaseCommit(layer) => layer.waiting(),
            _ => 0,
        });
        layers.fold(self.released.len(), usize::saturating_add)
    }

    /// When something has waited too long.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if !self.released.is_empty() {
            return Some(Instant::ZERO);
        }
        let timeout = |layer: &Layer| match layer {
            Layer::Fragmentation(layer) => layer.poll_timeout(),
            Layer::Order(layer) => layer.poll_timeout(),
            Layer::TwoPhaseCommit(layer) => layer.poll_timeout(),
            _ => None,
        };
        self.layers.iter().filter_map(timeout).min()
    }

    /// Ends what has waited too long.
    pub(crate) fn expire(&mut self, up: Climb<'_>) {
        let Self { layers, released } = self;
        let mut up = up.with(released);
        for (number, layer) in layers.iter_mut().enumerate() {
            up.layer = number;
            match layer {
                Layer::Fragmentation(layer) => layer.expire(up.now, up.stats),
                Layer::Order(layer) => layer.expire(&mut up),
                Layer::TwoPhaseCommit(layer) => layer.expire(up.now, up.stats),
                _ => {}
            }
        }
    }

    /// A member has left the table.
    pub(crate) fn member_gone(&mut self, up: Climb<'_>, member: MemberIndex) {
        let Self { layers, released } = self;
        let mut up = up.with(released);
        for (number, layer) in layers.iter_mut().enumerate() {
            up.layer = number;
            match layer {
                Layer::Fragmentation(layer) => layer.member_gone(member, up.stats),
                Layer::Order(layer) => layer.member_gone(member, &mut up),
                Layer::TwoPhaseCommit(layer) => layer.member_gone(member, up.stats),
                _ => {}
            }
        }
    }

    /// Whether `ThroughputInterceptor` has something to say.
    pub(crate) fn take_report(&mut self) -> bool {
        let mut due = false;
        for layer in &mut self.layers {
            if let Layer::Throughput(layer) = layer {
                due |= layer.take_report();
            }
        }
        due
    }
}

/// What a stack needs of its channel on the way up.
#[derive(Debug)]
pub(crate) struct Climb<'a> {
    pub(crate) now: Instant,
    pub(crate) unix_ms: u64,
    pub(crate) limits: &'a Limits,
    pub(crate) stats: &'a mut InterceptorStats,
}

impl<'a> Climb<'a> {
    fn with(self, released: &'a mut Released) -> Up<'a> {
        Up {
            now: self.now,
            unix_ms: self.unix_ms,
            message_bytes_max: self.limits.message_bytes_max,
            gather_bytes_max: self.limits.gather_bytes_max,
            stats: self.stats,
            released,
            layer: 0,
        }
    }
}
