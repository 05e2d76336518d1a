//! Tests of connections over an in-memory pipe, with a paused clock that skips idle time.

use std::future::poll_fn;
use std::pin::pin;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::time::timeout;

use super::*;

const ROOM_BYTES: usize = 64 << 10;

fn patience() -> Patience {
    Patience {
        head_time_max: Duration::from_secs(10),
        idle_time_max: Duration::from_secs(75),
        answer_pause_max: Duration::from_secs(30),
        heads: Room::new(ROOM_BYTES),
    }
}

fn connection(patience: &Patience) -> (DuplexStream, Connection<DuplexStream>) {
    let (client, socket) = duplex(1 << 20);
    (client, Connection::new(socket, |_| {}, patience.clone()))
}

/// Reads as a server does, until there are no more bytes or the end; returns the bytes read.
async fn read(connection: &mut Connection<DuplexStream>) -> io::Result<usize> {
    let mut bytes = vec![0; 1 << 20];
    let mut read = 0;
    loop {
        let mut more = pin!(connection.read(&mut bytes));
        match poll_fn(|context| Poll::Ready(more.as_mut().poll(context))).await {
            Poll::Ready(Ok(0)) | Poll::Pending => return Ok(read),
            Poll::Ready(Ok(more)) => read += more,
            Poll::Ready(Err(error)) => return Err(error),
        }
    }
}

/// Sends a byte a second until the connection ends. Returns the error, the seconds until then, and
/// the text sent to the client.
async fn drip(
    client: &mut DuplexStream,
    connection: &mut Connection<DuplexStream>,
) -> (ErrorKind, u64, String) {
    let start = Instant::now();
    let error = loop {
        client.write_all(b"a").await.unwrap();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Err(error) = read(connection).await {
            break error;
        }
    };
    let mut told = vec![0; 100];
    let length = client.read(&mut told).await.unwrap();
    let told = String::from_utf8_lossy(&told[..length]).lines().next().unwrap().to_owned();
    (error.kind(), start.elapsed().as_secs(), told)
}

#[tokio::test(start_paused = true)]
async fn every_head_is_to_be_here_in_time_not_the_first_alone() {
    let (mut client, mut connection) = connection(&patience());
    let exchange = connection.exchange().clone();
    for _ in 0..3 {
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        read(&mut connection).await.unwrap();
        exchange.begin();
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(read(&mut connection).await.unwrap(), 0, "an answer takes the time it takes");
        exchange.end();
        tokio::time::sleep(Duration::from_mins(1)).await;
        assert_eq!(read(&mut connection).await.unwrap(), 0, "it may be idle for a minute");
    }
    let (kind, seconds, told) = drip(&mut client, &mut connection).await;
    assert_eq!((kind, told.as_str()), (ErrorKind::TimedOut, "HTTP/1.1 408 Request Timeout"));
    assert!((10..=12).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_began_within_another_request_is_to_be_here_in_time_too() {
    let (mut client, mut connection) = connection(&patience());
    let exchange = connection.exchange().clone();
    client.write_all(b"GET / HTTP/1.1\r\n\r\nGET /").await.unwrap();
    read(&mut connection).await.unwrap();
    exchange.begin();
    exchange.end();
    tokio::time::sleep(Duration::from_secs(84)).await;
    assert_eq!(read(&mut connection).await.unwrap(), 0);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(read(&mut connection).await.unwrap_err().kind(), ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_woken_when_a_head_is_late() {
    let (mut client, mut connection) = connection(&patience());
    let exchange = connection.exchange().clone();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    read(&mut connection).await.unwrap();
    exchange.begin();
    let start = Instant::now();
    let mut bytes = [0; 100];
    let reading = timeout(Duration::from_mins(5), connection.read(&mut bytes));
    let ending = async {
        // The alarm of the first head rings during the request, and is set again when the request
        // ends.
        tokio::time::sleep(Duration::from_mins(1)).await;
        exchange.end();
    };
    // The reader is already waiting when the request ends.
    let (read, ()) = tokio::join!(biased; reading, ending);
    assert_eq!(read.unwrap().unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(start.elapsed().as_secs(), 60 + 75 + 10, "it is woken, and not by chance");
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_woken_for_bytes_that_came_during_an_answer() {
    let (mut client, mut connection) = connection(&patience());
    let exchange = connection.exchange().clone();
    exchange.begin();
    client.write_all(&[b'a'; 2 * FREE_BYTES]).await.unwrap();
    let mut bytes = vec![0; 2 * FREE_BYTES];
    assert_eq!(connection.read(&mut bytes).await.unwrap(), FREE_BYTES);
    let ending = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        exchange.end();
    };
    let (read, ()) = tokio::join!(connection.read(&mut bytes), ending);
    assert_eq!(read.unwrap(), FREE_BYTES);
}

#[tokio::test(start_paused = true)]
async fn heads_take_no_more_than_their_room() {
    let patience = patience();
    let mut clients = Vec::new();
    let mut held = 0;
    for _ in 0..20 {
        let (mut client, mut connection) = connection(&patience);
        client.write_all(&vec![b'a'; 100 << 10]).await.unwrap();
        let read_bytes = match read(&mut connection).await {
            Ok(read_bytes) => read_bytes,
            Err(_) => FREE_BYTES,
        };
        assert!(read_bytes >= FREE_BYTES);
        held += read_bytes;
        clients.push((client, connection));
    }
    assert!(held <= ROOM_BYTES + 20 * FREE_BYTES, "{held}");
    // There is always room for a head of the usual size, and a head that is given up frees some.
    let (mut client, mut usual) = connection(&patience);
    client.write_all(&vec![b'a'; FREE_BYTES - 1]).await.unwrap();
    assert_eq!(read(&mut usual).await.unwrap(), FREE_BYTES - 1);
    drop(clients);
    let (mut client, mut long) = connection(&patience);
    client.write_all(&vec![b'a'; 50 << 10]).await.unwrap();
    assert_eq!(read(&mut long).await.unwrap(), 50 << 10);
}

#[tokio::test(start_paused = true)]
async fn without_room_a_complete_head_is_taken_and_a_partial_one_is_refused() {
    let patience = patience();
    let all = patience.heads.take(ROOM_BYTES).unwrap();
    let (mut client, mut connection) = connection(&patience);
    client.write_all(&vec![b'a'; 50 << 10]).await.unwrap();
    assert_eq!(read(&mut connection).await.unwrap(), FREE_BYTES);
    connection.exchange().begin();
    assert_eq!(read(&mut connection).await.unwrap(), FREE_BYTES);
    connection.exchange().end();
    assert_eq!(read(&mut connection).await.unwrap(), FREE_BYTES);
    assert!(read(&mut connection).await.is_err());
    let mut told = vec![0; 100];
    let length = client.read(&mut told).await.unwrap();
    assert!(told[..length].starts_with(b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n"));
    drop(all);
}

#[tokio::test(start_paused = true)]
async fn a_body_is_read_no_further_than_it_is_asked_for() {
    let (mut client, mut connection) = connection(&patience());
    let exchange = connection.exchange().clone();
    client.write_all(b"POST / HTTP/1.1\r\n\r\n").await.unwrap();
    read(&mut connection).await.unwrap();
    exchange.begin();
    client.write_all(&vec![b'a'; 1 << 19]).await.unwrap();
    assert_eq!(read(&mut connection).await.unwrap(), FREE_BYTES);
    for _ in 0..3 {
        exchange.ask();
        exchange.ask();
        assert_eq!(read(&mut connection).await.unwrap(), BODY_AHEAD_BYTES);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unread_answer_ends_the_connection_and_a_slowly_read_one_does_not() {
    let (mut client, socket) = duplex(1_000);
    let mut connection = Connection::new(socket, |_| {}, patience());
    let writing = async {
        let start = Instant::now();
        let error = connection.write_all(&[b'a'; 10_000]).await.unwrap_err();
        (error.kind(), start.elapsed().as_secs())
    };
    let taking = async {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(29)).await;
            client.read_exact(&mut [0; 500]).await.unwrap();
        }
    };
    let ((kind, seconds), ()) = tokio::join!(writing, taking);
    assert_eq!((kind, seconds), (ErrorKind::TimedOut, 4 * 29 + 30));
}
