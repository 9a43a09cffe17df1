//! Objects in a bucket of an S3-compatible server. Where the server is, and the key to it, are in the environment, in the variables that
//! all tools of S3 share.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use eventlog::objects::Objects;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
    RetryConfig, WriteMultipart,
};
use tokio::runtime::{Builder, Runtime};

/// Length of the parts in which long objects are sent and fetched, bytes.
const PART_BYTES: usize = 16 * 1024 * 1024;
/// Maximum number of parts that are on their way at the same time.
const PARTS_AT_ONCE: usize = 4;
/// Timeout of a connection to the server.
const CONNECT_TIMEOUT: &str = "5s";
/// Timeout of one request, which moves at most [`PART_BYTES`].
const REQUEST_TIMEOUT: &str = "30s";
/// Time after which a request that failed is not tried again by itself. Lanes, restores and starts try again later.
const RETRY_TIMEOUT: Duration = Duration::from_secs(10);
/// Number of times that a request is tried again within it.
const RETRIES_MAX: usize = 6;
/// Shortest and longest delay between two attempts.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// Where the documentation says what is needed.
const SEE: &str = "see \"The store\" in docs/operating.md";

/// A part of a bucket.
#[derive(Debug)]
pub(super) struct S3 {
    store: Arc<AmazonS3>,
    bucket: String,
    prefix: Path,
    runtime: Runtime,
}

impl S3 {
    /// The bucket that the environment leads to. The server is not asked.
    ///
    /// # Errors
    /// The environment has not what is needed, or the system gives no thread.
    pub(super) fn open(bucket: &str, prefix: &str) -> Result<Self, String> {
        let builder = AmazonS3Builder::from_env();
        let given = |key| builder.get_config_value(&key).unwrap_or_default();
        if given(AmazonS3ConfigKey::AccessKeyId).is_empty() && given(AmazonS3ConfigKey::SecretAccessKey).is_empty() {
            tracing::info!("AWS_ACCESS_KEY_ID is not set: the key to the store is asked of the machine's own services");
        }
        let endpoint =
            [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint].map(given).into_iter().find(|e| !e.is_empty());
        let is_allowed = given(AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp)) == "true";
        let is_plain = endpoint.as_deref().map(is_plain).transpose()?.unwrap_or_default();
        if is_plain == Plain::Elsewhere && !is_allowed {
            let endpoint = endpoint.unwrap_or_default();
            return Err(format!(
                "AWS_ENDPOINT_URL {endpoint}: shoppers and keys would cross the network in clear: give an https URL, or set AWS_ALLOW_HTTP=true"
            ));
        }
        let (init_backoff, max_backoff) = RETRY_DELAYS;
        let backoff = BackoffConfig { init_backoff, max_backoff, base: 2.0 };
        let store = builder
            .with_bucket_name(bucket)
            .with_allow_http(is_plain != Plain::No)
            .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::ConnectTimeout), CONNECT_TIMEOUT)
            .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST_TIMEOUT)
            .with_retry(RetryConfig { backoff, max_retries: RETRIES_MAX, retry_timeout: RETRY_TIMEOUT })
            .build()
            .map_err(|e| format!("{e}: {SEE}"))?;
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("store").enable_all().build();
        Ok(Self {
            store: Arc::new(store),
            bucket: bucket.to_owned(),
            prefix: Path::parse(prefix).map_err(|e| e.to_string())?,
            runtime: runtime.map_err(|e| format!("no thread for the store: {e}"))?,
        })
    }

    /// Waits for an answer, on a thread of its own: the caller's may be one of another runtime, which must not wait in this one.
    fn wait<T: Send>(&self, answer: impl Future<Output = T> + Send) -> T {
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| self.runtime.block_on(answer));
            waiting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), Path::join)
    }

    fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(name);
        let put = async {
            if bytes.len() <= PART_BYTES {
                return self.store.put(&path, PutPayload::from(bytes.to_vec())).await.map(drop);
            }
            let mut writer = WriteMultipart::new_with_chunk_size(self.store.put_multipart(&path).await?, PART_BYTES);
            for part in bytes.chunks(PART_BYTES) {
                if let Err(error) = writer.wait_for_capacity(PARTS_AT_ONCE - 1).await {
                    // What was sent must not be kept and paid for.
                    writer.abort().await?;
                    return Err(error);
                }
                writer.write(part);
            }
            writer.finish().await.map(drop)
        };
        self.wait(put).map_err(io_error)
    }
}

impl Objects for S3 {
    fn make_folder(&self, _folder: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let path = self.path(folder);
        let listed = self.wait(self.store.list_with_delimiter(Some(&path))).map_err(io_error)?;
        let objects = listed.objects.iter().map(|object| &object.location);
        let names = objects.chain(&listed.common_prefixes).filter_map(|path| path.filename());
        let mut names: Vec<String> = names.map(str::to_owned).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let path = self.path(name);
        let read = async {
            let first = GetOptions { range: Some(GetRange::Bounded(0..PART_BYTES as u64)), ..GetOptions::default() };
            let first = self.store.get_opts(&path, first).await?;
            let (length, tag) = (first.meta.size, first.meta.e_tag.clone());
            let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
            bytes.extend_from_slice(&first.bytes().await?);
            let mut starts = (PART_BYTES as u64..length).step_by(PART_BYTES);
            let mut parts = VecDeque::new();
            loop {
                while parts.len() < PARTS_AT_ONCE
                    && let Some(start) = starts.next()
                {
                    let range = Some(GetRange::Bounded(start..(start + PART_BYTES as u64).min(length)));
                    // All parts are of one object.
                    let options = GetOptions { range, if_match: tag.clone(), ..GetOptions::default() };
                    let (store, path) = (Arc::clone(&self.store), path.clone());
                    parts.push_back(tokio::spawn(async move { store.get_opts(&path, options).await?.bytes().await }));
                }
                let Some(part) = parts.pop_front() else { return Ok(bytes) };
                bytes.extend_from_slice(&part.await??);
            }
        };
        self.wait(read).map_err(io_error)
    }

    fn read_start(&self, name: &str, max: usize) -> io::Result<Vec<u8>> {
        let path = self.path(name);
        let range = Some(GetRange::Bounded(0..max as u64));
        let read =
            async { self.store.get_opts(&path, GetOptions { range, ..GetOptions::default() }).await?.bytes().await };
        self.wait(read).map(Into::into).map_err(io_error)
    }

    fn create(&self, name: &str, bytes: &[u8]) -> io::Result<bool> {
        let payload = PutPayload::from(bytes.to_vec());
        match self.wait(self.store.put_opts(&self.path(name), payload, PutMode::Create.into())) {
            Ok(_) => Ok(true),
            Err(Error::AlreadyExists { .. }) => Ok(false),
            Err(error) => Err(io_error(error)),
        }
    }

    fn write_data(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.put(name, bytes)
    }

    fn publish(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.put(name, bytes)
    }

    fn remove(&self, folder: &str, names: &[&str]) -> Result<(), (String, io::Error)> {
        for name in names {
            match self.wait(self.store.delete(&self.path(&format!("{folder}/{name}")))) {
                Ok(()) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(((*name).to_owned(), io_error(error))),
            }
        }
        Ok(())
    }

    fn address(&self, name: &str) -> String {
        format!("s3://{}/{}", self.bucket, self.path(name))
    }
}

/// Whether an endpoint is not encrypted, and where it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Plain {
    #[default]
    No,
    /// On this machine.
    Here,
    Elsewhere,
}

fn is_plain(endpoint: &str) -> Result<Plain, String> {
    let uri: Option<Uri> = endpoint.parse().ok();
    let (Some(scheme), Some(host)) = (uri.as_ref().and_then(Uri::scheme_str), uri.as_ref().and_then(Uri::host)) else {
        return Err(format!("AWS_ENDPOINT_URL {endpoint}: is no URL: give one such as https://s3.example.com"));
    };
    let is_here =
        host == "localhost" || host.trim_matches(['[', ']']).parse().is_ok_and(|address: IpAddr| address.is_loopback());
    match scheme {
        "https" => Ok(Plain::No),
        _ if is_here => Ok(Plain::Here),
        _ => Ok(Plain::Elsewhere),
    }
}

/// The error as [`Objects`] has it.
fn io_error(error: Error) -> io::Error {
    let kind = match &error {
        Error::NotFound { .. } => ErrorKind::NotFound,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => ErrorKind::PermissionDenied,
        Error::Generic { .. } | Error::JoinError { .. } => ErrorKind::NotConnected,
        _ => ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_must_be_encrypted_or_on_this_machine() {
        for (endpoint, expected) in [
            ("https://s3.example.com", Plain::No),
            ("http://127.0.0.1:9000", Plain::Here),
            ("http://[::1]:9000/", Plain::Here),
            ("http://localhost:9000", Plain::Here),
            ("http://minio:9000", Plain::Elsewhere),
            ("http://127.0.0.1.example.com", Plain::Elsewhere),
        ] {
            assert_eq!(is_plain(endpoint), Ok(expected), "{endpoint}");
        }
        for endpoint in ["s3.example.com", "", "http://"] {
            assert!(is_plain(endpoint).expect_err(endpoint).contains("is no URL"));
        }
    }
}
