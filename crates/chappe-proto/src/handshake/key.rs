//! `Sec-WebSocket-Key` and `Sec-WebSocket-Accept` (RFC 6455, sections 4.1 and 4.2.2).

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};

/// A new key, from 16 random bytes.
pub(crate) fn encode(nonce: [u8; 16]) -> String {
    BASE64.encode(nonce)
}

/// Whether this is a key: 16 bytes in base64.
///
/// The last character's unused bits may be set: the RFC's own sample had them (erratum 3150).
pub(crate) fn is_valid(key: &[u8]) -> bool {
    let mut nonce = [0; 18]; // what 24 characters can decode to
    key.len() == 24 && BASE64.decode_slice(key, &mut nonce) == Ok(16)
}

/// The answer that proves that the server has read the key.
pub(crate) fn accept(key: &[u8]) -> String {
    let mut hash = sha1_smol::Sha1::new();
    hash.update(key);
    hash.update(b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    BASE64.encode(hash.digest().bytes())
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);
