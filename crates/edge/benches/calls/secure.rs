//! TLS for the baseline and for the load, with nothing around it: what the edge is measured against.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::Stream;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::server::TlsStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::transport::server::Connected;
use tonic::transport::{Channel, Endpoint};

use crate::house::House;

/// The protocol that is negotiated.
const HTTP2: &[u8] = b"h2";

/// An accepted connection, as tonic takes it.
pub(crate) struct Accepted(TlsStream<TcpStream>);

impl Connected for Accepted {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

/// Connections of the baseline.
pub(crate) fn accepted(
    listener: TcpListener,
    house: &House,
) -> anyhow::Result<impl Stream<Item = io::Result<Accepted>>> {
    let files = house.identity();
    let chain = CertificateDer::pem_file_iter(files.certificate)?.collect::<Result<Vec<_>, _>>()?;
    let key = PrivateKeyDer::from_pem_file(files.key)?;
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![HTTP2.to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    Ok(futures::stream::unfold((listener, acceptor), |(listener, acceptor)| async {
        let accepted = accept(&listener, &acceptor).await;
        Some((accepted, (listener, acceptor)))
    }))
}

async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor) -> io::Result<Accepted> {
    let (stream, _) = listener.accept().await?;
    // Without it the baseline waits for delayed acknowledgements, 44 ms at a time.
    stream.set_nodelay(true)?;
    acceptor.accept(stream).await.map(Accepted)
}

/// A connection of the load.
pub(crate) async fn connect(address: &str, house: &House) -> anyhow::Result<Channel> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(house.identity().certificate)?)?;
    let mut config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![HTTP2.to_vec()];
    let (connector, address) = (TlsConnector::from(Arc::new(config)), address.to_owned());
    let dial = tower::service_fn(move |_| {
        let (connector, address) = (connector.clone(), address.clone());
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
            connector.connect(name, stream).await.map(TokioIo::new)
        }
    });
    // The scheme is tonic's affair: it would refuse https without its own TLS.
    Ok(Endpoint::from_static("http://localhost").connect_with_connector(dial).await?)
}
