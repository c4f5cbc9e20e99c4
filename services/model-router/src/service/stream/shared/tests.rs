use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use futures::future::poll_immediate;
use tokio::sync::oneshot;

use super::*;

fn message(text: &str) -> pb::StreamGenerateResponse {
    pb::StreamGenerateResponse { text: text.into(), event: None }
}

/// Says a to e, waits to be let go on, says the rest and ends with `!`. Counts what it said.
fn alphabet(said: Arc<AtomicUsize>, go_on: oneshot::Receiver<()>) -> (Reader, Joinable) {
    let (tell, events) = mpsc::channel(2);
    let mut joinable = None;
    let reader = begin(events, |this| {
        joinable = Some(this);
        Box::pin(async move {
            let say = async |letters: std::ops::RangeInclusive<char>| {
                for letter in letters {
                    tell.send(Event::Text(letter.into())).await.expect("it is heard");
                    said.fetch_add(1, Ordering::Relaxed);
                }
            };
            say('a'..='e').await;
            go_on.await.expect("it is let go on");
            say('f'..='i').await;
            vec![Ok(message("!"))]
        })
    });
    (reader, joinable.expect("it was begun"))
}

/// What there is without waiting.
async fn now(reader: &mut Reader) -> String {
    let mut text = String::new();
    while let Some(Some(told)) = poll_immediate(reader.next()).await {
        text += &told.expect("no status").text;
    }
    text
}

async fn all(reader: Reader) -> String {
    reader.map(|told| told.expect("no status").text).collect().await
}

#[tokio::test]
async fn who_joins_in_the_middle_has_the_same_in_the_end() {
    let (go_on, waits) = oneshot::channel();
    let (mut first, joinable) = alphabet(Arc::default(), waits);
    assert_eq!(now(&mut first).await, "abcde");
    let mut second = joinable.join().expect("it goes on");
    assert_eq!(second.next().await.expect("a piece").expect("no status").text, "abcde");
    let (rest, same) = tokio::join!(all(first), async {
        go_on.send(()).expect("it waits");
        all(second).await
    });
    assert_eq!((rest.as_str(), same.as_str()), ("fghi!", "fghi!"));
    assert!(joinable.join().is_none(), "it is over");
}

#[tokio::test]
async fn the_work_goes_on_until_the_last_reader_leaves() {
    let (go_on, waits) = oneshot::channel();
    let (mut first, joinable) = alphabet(Arc::default(), waits);
    assert_eq!(now(&mut first).await, "abcde");
    let mut second = joinable.join().expect("it goes on");
    drop(first);
    assert_eq!(now(&mut second).await, "abcde");
    assert!(!go_on.is_closed(), "somebody reads");
    drop(second);
    assert!(go_on.is_closed(), "nobody does");
    assert!(joinable.join().is_none());
}

#[tokio::test]
async fn who_waits_is_woken_though_another_asked_last_and_left() {
    let (go_on, waits) = oneshot::channel();
    let (mut first, joinable) = alphabet(Arc::default(), waits);
    let second = joinable.join().expect("it goes on");
    let (text, ()) = tokio::join!(all(second), async {
        tokio::task::yield_now().await;
        now(&mut first).await;
        drop(first);
        go_on.send(()).expect("it waits");
    });
    assert_eq!(text, "abcdefghi!");
}

#[tokio::test]
async fn a_slow_reader_holds_nobody_up_and_loses_nothing() {
    let (go_on, waits) = oneshot::channel();
    let (first, joinable) = alphabet(Arc::default(), waits);
    let slow = joinable.join().expect("it goes on");
    go_on.send(()).expect("it waits");
    assert_eq!(all(first).await, "abcdefghi!");
    assert_eq!(all(slow).await, "abcdefghi!");
}

#[tokio::test]
async fn the_work_is_no_further_ahead_than_its_channel_has_room() {
    let (_go_on, waits) = oneshot::channel();
    let said = Arc::new(AtomicUsize::new(0));
    let (mut only, _joinable) = alphabet(Arc::clone(&said), waits);
    assert_eq!(only.next().await.expect("a piece").expect("no status").text, "a");
    assert!(said.load(Ordering::Relaxed) <= 3, "{said:?}");
}

#[tokio::test]
async fn work_is_asked_when_it_was_woken_and_not_because_somebody_looks() {
    let (_tell, events) = mpsc::channel(2);
    let asked = Arc::new(AtomicUsize::new(0));
    let (count, woken) = (Arc::clone(&asked), Arc::new(Mutex::new(None::<Waker>)));
    let place = Arc::clone(&woken);
    let mut reader = begin(events, |_| {
        Box::pin(futures::future::poll_fn(move |context| {
            count.fetch_add(1, Ordering::Relaxed);
            *place.lock().expect("no panic") = Some(context.waker().clone());
            Poll::Pending
        }))
    });
    for expected in [1, 2] {
        for _ in 0..3 {
            assert_eq!(now(&mut reader).await, "");
            assert_eq!(asked.load(Ordering::Relaxed), expected);
        }
        woken.lock().expect("no panic").take().expect("it waits").wake();
    }
}

#[tokio::test]
async fn work_that_panics_under_one_reader_is_a_broken_stream_for_the_others() {
    let (_tell, events) = mpsc::channel(2);
    let mut joinable = None;
    let mut first = begin(events, |this| {
        joinable = Some(this);
        Box::pin(async { panic!("as it is told to") })
    });
    let mut second = joinable.and_then(|joinable| joinable.join()).expect("it goes on");
    let mut panics = tokio::task::JoinSet::new();
    panics.spawn(async move { first.next().await.is_some() });
    assert!(panics.join_next().await.is_some_and(|ended| ended.is_err()));
    let told = second.next().await.expect("an end");
    assert_eq!(told.expect_err("a status").code(), tonic::Code::Unavailable);
    assert!(second.next().await.is_none());
}
