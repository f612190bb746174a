//! The type codes of the serialization protocol (`ObjectStreamConstants`).

pub(crate) const NULL: u8 = 0x70;
pub(crate) const REFERENCE: u8 = 0x71;
pub(crate) const CLASS_DESC: u8 = 0x72;
pub(crate) const OBJECT: u8 = 0x73;
pub(crate) const STRING: u8 = 0x74;
pub(crate) const ARRAY: u8 = 0x75;
pub(crate) const CLASS: u8 = 0x76;
pub(crate) const BLOCK_DATA: u8 = 0x77;
pub(crate) const END_BLOCK_DATA: u8 = 0x78;
pub(crate) const RESET: u8 = 0x79;
pub(crate) const BLOCK_DATA_LONG: u8 = 0x7A;
pub(crate) const EXCEPTION: u8 = 0x7B;
pub(crate) const LONG_STRING: u8 = 0x7C;
pub(crate) const PROXY_CLASS_DESC: u8 = 0x7D;
pub(crate) const ENUM: u8 = 0x7E;

/// The first handle.
pub(crate) const BASE_HANDLE: u32 = 0x7E_0000;

/// Descriptor flags: the class has its own `writeObject`.
pub(crate) const WRITE_METHOD: u8 = 0x01;
/// Descriptor flags: `Serializable`.
pub(crate) const SERIALIZABLE: u8 = 0x02;
/// Descriptor flags: `Externalizable`.
pub(crate) const EXTERNALIZABLE: u8 = 0x04;
/// Descriptor flags: external data is in block data mode (protocol 2).
pub(crate) const EXTERNAL_BLOCK_DATA: u8 = 0x08;
/// Descriptor flags: an enum.
pub(crate) const IS_ENUM: u8 = 0x10;
