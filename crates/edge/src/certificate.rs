//! What a verified client certificate says of its holder.

/// The names in the client certificate of a connection. The listener puts it into the extensions of every request
/// on a connection whose peer proved, during the TLS handshake, that it holds a certificate signed by the
/// configured authority. Absent on plaintext, and where no certificate was presented.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The URIs among its subject alternative names (RFC 5280, 4.2.1.6), in their order.
    pub uri_names: Vec<String>,
}
