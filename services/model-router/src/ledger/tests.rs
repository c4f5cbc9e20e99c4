//! Accounts over a real store.

use bulkhead_edge::{Principal, PrincipalKind};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use sqlx::migrate::Migrator;
use tempfile::TempDir;

use super::account::Known;
use super::*;

const NOON: &str = "2026-05-09T12:00:00Z";
const NEXT_DAY: &str = "2026-05-10T00:00:00Z";

fn time(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn budget(name: &str, scope: BudgetScope, period: Period, alert: u64, stop: u64) -> BudgetConfig {
    let marks = Marks { alert: Some(alert), stop: Some(stop) };
    BudgetConfig { name: name.into(), scope, tenant: None, period, marks }
}

fn budgets() -> Vec<BudgetConfig> {
    vec![
        budget("day", BudgetScope::Tenant, Period::Day, 800, 1_000),
        budget("session", BudgetScope::Session, Period::Endless, 100, 400),
    ]
}

async fn open(folder: &TempDir) -> (Store, Arc<Ledger>) {
    let store = Store::open(&folder.path().join("router.db"), &crate::MIGRATIONS).await.expect("opens");
    (store.clone(), Ledger::open(budgets(), store).await.expect("opens"))
}

/// A call that costs so much, on disk at its end.
async fn spend(ledger: &Arc<Ledger>, session_id: &str, amount: u64, now: Timestamp) -> Vec<Notice> {
    let mut purse = ledger.purse("acme", session_id, now).await.expect("reads");
    let mut hold = purse.hold(amount, now).expect("it fits");
    hold.spent(amount);
    let notices = hold.settle(now);
    ledger.tell(notices.iter().map(|notice| news(notice.passed, notice.period.start)).collect());
    save(ledger, purse.save()).await;
    notices
}

/// Of the tenant's account.
fn news(passed: Passed, start: Option<Timestamp>) -> News {
    let principal =
        Principal { tenant: "acme".into(), kind: PrincipalKind::Agent, name: "scribe".into(), owner: None };
    News { key: key(), passed, start, event: EventDraft::new("budget", time(NOON), &principal) }
}

async fn save(ledger: &Ledger, savings: Savings) {
    put(ledger, &savings).await;
    let told = savings.saved();
    put(ledger, &told).await;
    drop(told.saved());
}

/// Writes it, and nobody learns of that.
async fn put(ledger: &Ledger, savings: &Savings) {
    let entries = savings.entries().to_vec();
    let writing = ledger.store.writer().write(move |connection| {
        Box::pin(
            async move { write(connection, &entries).await.map_err(bulkhead_sqlite::WriteError::NotWritten) },
        )
    });
    writing.await.expect("written");
}

async fn told(ledger: &Ledger, session_id: &str, now: Timestamp) -> Vec<(String, String, u64, u64)> {
    let statements = ledger.statements("acme", session_id, now).await.expect("reads");
    statements.into_iter().map(|s| (s.key.budget, s.key.session_id, s.spent, s.reserved)).collect()
}

/// The tenant's account of the day.
fn key() -> Key {
    Key { budget: "day".into(), period: Period::Day, tenant: "acme".into(), session_id: String::new() }
}

fn row(budget: &str, session_id: &str, spent: u64, reserved: u64) -> (String, String, u64, u64) {
    (budget.into(), session_id.into(), spent, reserved)
}

#[tokio::test]
async fn a_restart_forgets_nothing_and_a_new_day_begins_with_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, ledger) = open(&folder).await;
    spend(&ledger, "s1", 300, time(NOON)).await;
    spend(&ledger, "s2", 50, time(NOON)).await;
    spend(&ledger, "", 7, time(NOON)).await;
    let all = [row("day", "", 357, 0), row("session", "s1", 300, 0), row("session", "s2", 50, 0)];
    assert_eq!(told(&ledger, "", time(NOON)).await, all);
    drop(ledger);
    store.close().await;
    drop(store);

    let (store, ledger) = open(&folder).await;
    assert_eq!(told(&ledger, "", time(NOON)).await, all);
    assert_eq!(told(&ledger, "s1", time(NOON)).await, [row("session", "s1", 300, 0)]);
    let mut purse = ledger.purse("acme", "s1", time(NOON)).await.expect("reads");
    let exhausted = purse.hold(101, time(NOON)).expect_err("the session's stop");
    assert_eq!(
        (exhausted.budget.as_str(), exhausted.refused.spent, exhausted.retry_after),
        ("session", 300, None)
    );
    drop(purse);

    spend(&ledger, "s2", 20, time(NEXT_DAY)).await;
    let next = [row("day", "", 20, 0), row("session", "s1", 300, 0), row("session", "s2", 70, 0)];
    assert_eq!(told(&ledger, "", time(NEXT_DAY)).await, next);
    drop(ledger);
    store.close().await;
    drop(store);
    let (_store, ledger) = open(&folder).await;
    assert_eq!(told(&ledger, "", time(NEXT_DAY)).await, next);
}

/// What nobody knows to be written is written again: once more with what came after it, and late, by a call that was slow.
#[tokio::test]
async fn a_write_of_unknown_outcome_counts_once_however_often_it_is_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, ledger) = open(&folder).await;
    let mut purse = ledger.purse("acme", "s1", time(NOON)).await.expect("reads");
    let mut spends = |amount| {
        let mut hold = purse.hold(amount, time(NOON)).expect("it fits");
        hold.spent(amount);
        drop(hold.settle(time(NOON)));
        purse.save()
    };
    let (first, second) = (spends(100), spends(20));
    for savings in [&first, &first, &second, &first, &second] {
        put(&ledger, savings).await;
    }
    save(&ledger, spends(3)).await;
    put(&ledger, &second).await;
    assert!(purse.save().entries().is_empty(), "all of it is known to be there");
    drop(purse);
    drop(ledger);
    store.close().await;
    drop(store);
    let (_store, ledger) = open(&folder).await;
    let all = [row("day", "", 123, 0), row("session", "s1", 123, 0)];
    assert_eq!(told(&ledger, "", time(NOON)).await, all);
}

#[tokio::test]
async fn an_event_goes_with_the_next_write_until_one_succeeds() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_store, ledger) = open(&folder).await;
    let alert = || news(Passed::Alert, None);
    let purse = ledger.purse("acme", "", time(NOON)).await.expect("reads");
    ledger.tell(vec![alert()]);
    let failing = purse.save();
    assert_eq!((failing.events().len(), purse.save().events().len()), (1, 0), "it is on its way");
    ledger.tell(vec![alert()]);
    drop(failing);
    let other = ledger.purse("other", "", time(NOON)).await.expect("reads");
    let both = other.save();
    assert_eq!(both.events().len(), 2, "whoever writes next takes it along");
    drop(both.saved());
    assert!(purse.save().events().is_empty());
}

/// Whether one who has the store next tells that the stop is reached.
async fn is_told_again(store: &Store) -> bool {
    let next = Ledger::open(budgets(), store.clone()).await.expect("opens");
    let mut purse = next.purse("acme", "", time(NOON)).await.expect("reads");
    purse.may(0, time(NOON)).expect_err("it is reached");
    !purse.notices().is_empty()
}

#[tokio::test]
async fn that_a_stop_was_told_is_on_disk_once_its_event_is_kept_and_not_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, ledger) = open(&folder).await;
    let mut purse = ledger.purse("acme", "", time(NOON)).await.expect("reads");
    let mut hold = purse.hold(1_000, time(NOON)).expect("it fits");
    hold.spent(1_000);
    let notices = hold.settle(time(NOON));
    let meanwhile = ledger.purse("acme", "", time(NOON)).await.expect("reads");
    save(&ledger, meanwhile.save()).await;
    assert!(is_told_again(&store).await, "another call's write does not say so");
    ledger.tell(notices.iter().map(|notice| news(notice.passed, notice.period.start)).collect());
    let savings = purse.save();
    put(&ledger, &savings).await;
    assert!(is_told_again(&store).await, "killed now, its event would be lost");
    let told = savings.saved();
    put(&ledger, &told).await;
    assert!(!is_told_again(&store).await);
    drop(told.saved());
    assert!(purse.save().entries().is_empty(), "all of it is known to be there");
}

#[tokio::test]
async fn what_was_read_before_accounts_were_forgotten_is_read_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_store, ledger) = open(&folder).await;
    let (key, known) = (key(), |own| Known { own, ..Known::default() });
    let start = Period::Day.at(time(NOON)).start;
    let old = (Account::new(start, known(5)), ledger.lock().changes);
    ledger.lock().changes += 1;
    assert!(!ledger.enter(&key, start, Some(old)), "it may be older than what was forgotten");
    let new = (Account::new(start, known(7)), ledger.lock().changes);
    assert!(ledger.enter(&key, start, Some(new)));
    assert_eq!(ledger.change(&key, |account| account.spent()), Some(7));
}

#[tokio::test]
async fn each_mark_is_noticed_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_store, ledger) = open(&folder).await;
    let mut passed = Vec::new();
    for _ in 0..4 {
        let notices = spend(&ledger, "s1", 100, time(NOON)).await;
        passed.extend(notices.into_iter().map(|notice| (notice.key.budget, notice.passed, notice.spent)));
    }
    assert_eq!(
        passed,
        [("session".to_owned(), Passed::Alert, 200), ("session".to_owned(), Passed::Stop, 400)]
    );
}

#[tokio::test]
async fn waiting_is_advised_where_it_helps_soon() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_store, ledger) = open(&folder).await;
    let late = time("2026-05-09T23:50:00Z");
    let mut purse = ledger.purse("acme", "", late).await.expect("reads");
    let mut held = purse.hold(900, time(NOON)).expect("it fits");
    let others = purse.may(200, time(NOON)).expect_err("held");
    assert_eq!(others.retry_after, Some(Duration::from_secs(1)));
    held.spent(900);
    drop(held.settle(late));
    assert_eq!(purse.may(200, time(NOON)).expect_err("spent").retry_after, None);
    assert_eq!(purse.may(200, late).expect_err("spent").retry_after, Some(Duration::from_secs(600)));
}

#[tokio::test]
async fn nothing_crosses_tenants() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_store, ledger) = open(&folder).await;
    spend(&ledger, "s1", 400, time(NOON)).await;
    let mut other = ledger.purse("other", "s1", time(NOON)).await.expect("reads");
    assert_eq!(other.may(400, time(NOON)), Ok(()));
    let statements = ledger.statements("other", "", time(NOON)).await.expect("reads");
    assert!(statements.iter().all(|statement| statement.spent == 0), "{statements:?}");
}

#[tokio::test]
async fn a_crowd_never_spends_above_the_stop_and_nothing_stays_reserved() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_store, ledger) = open(&folder).await;
    // What nobody settles ends by the clock.
    let now = bulkhead_edge::now();
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let calls: Vec<(u64, u64)> =
        (0..500).map(|_| (dice.random_range(1..40), dice.random_range(0..4))).collect();
    let refused = join_all(calls.into_iter().map(|(wanted, ending)| {
        let ledger = &ledger;
        async move {
            let mut purse = ledger.purse("acme", "", now).await.expect("reads");
            let tell = |notices: Vec<Notice>| {
                let news = notices.iter().map(|notice| news(notice.passed, notice.period.start));
                ledger.tell(news.collect());
            };
            let Ok(mut hold) = purse.hold(wanted, now) else {
                tell(purse.notices());
                save(ledger, purse.save()).await;
                return 1;
            };
            tokio::task::yield_now().await;
            match ending {
                // Nobody settles it: its caller left before it was sent.
                0 => drop(hold),
                1 => {
                    hold.spent(wanted);
                    drop(hold);
                }
                _ => {
                    hold.spent(wanted / 2);
                    tell(hold.settle(now));
                }
            }
            save(ledger, purse.save()).await;
            0
        }
    }));
    let refused: usize = refused.await.into_iter().sum();
    let stand = told(&ledger, "", now).await;
    assert!(refused > 0, "seed {seed}");
    assert!(stand[0].2 <= 1_000 && stand[0].3 == 0, "seed {seed}: {stand:?}");
    assert!(ledger.lock().accounts.values().all(Account::is_idle), "seed {seed}");
}

#[tokio::test]
async fn a_stop_that_an_attempt_passed_which_nobody_settled_is_told_at_the_first_refusal() {
    let folder = tempfile::tempdir().expect("a folder");
    let (_store, ledger) = open(&folder).await;
    let now = bulkhead_edge::now();
    let mut purse = ledger.purse("acme", "", now).await.expect("reads");
    let mut hold = purse.hold(1_000, now).expect("pays");
    hold.spent(1_000);
    drop(hold);
    for told in [1, 0] {
        purse.may(0, now).expect_err("it is used up");
        assert_eq!(purse.notices().len(), told);
    }
}

async fn rows(store: &Store) -> i64 {
    sqlx::query_scalar("SELECT COUNT(*) FROM spending").fetch_one(store.readers()).await.expect("reads")
}

#[tokio::test]
async fn what_no_budget_in_force_can_read_again_is_swept_a_little_at_a_time() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, _) = open(&folder).await;
    let of_sessions = |period| BudgetConfig {
        period,
        marks: Marks { alert: None, stop: None },
        ..budget("each", BudgetScope::Session, Period::Day, 0, 0)
    };
    let both = vec![of_sessions(Period::Day), of_sessions(Period::Endless)];
    let daily = Ledger::open(both, store.clone()).await.expect("opens");
    let write = async |session_id: &str, now| {
        let mut purse = daily.purse("acme", session_id, now).await.expect("reads");
        let mut hold = purse.hold(1, now).expect("nothing stands against it");
        hold.spent(1);
        drop(hold.settle(now));
        save(&daily, purse.save()).await;
    };
    for at in 0..300 {
        write(&at.to_string(), time(NOON)).await;
    }
    write("new", time(NEXT_DAY)).await;
    assert_eq!(rows(&store).await, 602);
    assert!(!daily.sweep(time(NOON)).await.expect("swept"), "all of it can be read");
    assert!(daily.sweep(time(NEXT_DAY)).await.expect("swept"), "there may be more");
    assert_eq!(rows(&store).await, 602 - 256);
    assert!(!daily.sweep(time(NEXT_DAY)).await.expect("swept"));
    assert_eq!(rows(&store).await, 302, "the new day, and what counts for ever");
    let left = daily.handed_on(vec![of_sessions(Period::Day)]);
    while left.sweep(time(NEXT_DAY)).await.expect("swept") {}
    assert_eq!(rows(&store).await, 1, "nobody reads the other budget any more");
    let fresh = Ledger::open(vec![of_sessions(Period::Day)], store).await.expect("opens");
    assert_eq!(told(&fresh, "", time(NEXT_DAY)).await, [row("each", "new", 1, 0)]);
}

/// A router over a store of its own: when it ends, its store is anybody's.
struct Router {
    folder: TempDir,
}

impl Router {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a folder") }
    }

    /// Runs for as long as `work` takes.
    async fn runs<T>(&self, work: impl AsyncFnOnce(Arc<Ledger>) -> T) -> T {
        let (store, ledger) = open(&self.folder).await;
        let done = work(ledger).await;
        store.close().await;
        done
    }

    /// What somebody learns who looks into its store.
    async fn is_looked_into_by(&self, ledger: &Ledger) -> usize {
        self.is_looked_into_at(ledger, time(NOON)).await
    }

    async fn is_looked_into_at(&self, ledger: &Ledger, now: Timestamp) -> usize {
        let store =
            Store::open(&self.folder.path().join("router.db"), &crate::MIGRATIONS).await.expect("opens");
        let looked_at = ledger.learn(&store, now).await.expect("learns");
        store.close().await;
        looked_at
    }
}

async fn of_the_day(ledger: &Ledger) -> u64 {
    told(ledger, "", time(NOON)).await[0].2
}

#[tokio::test]
async fn what_routers_spent_that_are_gone_counts_once_however_it_is_handed_on() {
    let [ada, bob, cleo] = [(); 3].map(|()| Router::new());
    ada.runs(async |ledger| spend(&ledger, "s1", 100, time(NOON)).await).await;
    bob.runs(async |ledger| {
        spend(&ledger, "", 20, time(NOON)).await;
        assert!(ada.is_looked_into_by(&ledger).await > 0);
        assert_eq!(ada.is_looked_into_by(&ledger).await, 0, "nobody had it since");
        assert_eq!(of_the_day(&ledger).await, 120);
        spend(&ledger, "", 3, time(NOON)).await;
    })
    .await;
    cleo.runs(async |ledger| {
        // Of the first one it hears from both.
        bob.is_looked_into_by(&ledger).await;
        ada.is_looked_into_by(&ledger).await;
        assert_eq!(of_the_day(&ledger).await, 123);
    })
    .await;
    // It goes on where it was, and what it spends then is heard of too.
    ada.runs(async |ledger| {
        assert_eq!(of_the_day(&ledger).await, 100);
        spend(&ledger, "s1", 7, time(NOON)).await;
        cleo.is_looked_into_by(&ledger).await;
        assert_eq!(
            of_the_day(&ledger).await,
            130,
            "its own, of which others know less, and what it heard of others"
        );
    })
    .await;
    cleo.runs(async |ledger| {
        assert_eq!(of_the_day(&ledger).await, 123, "a restart forgets nothing");
        ada.is_looked_into_by(&ledger).await;
        assert_eq!(of_the_day(&ledger).await, 130);
        let mut purse = ledger.purse("acme", "s1", time(NOON)).await.expect("reads");
        assert_eq!(purse.may(294, time(NOON)).expect_err("the session's stop").refused.spent, 107);
    })
    .await;
}

#[tokio::test]
async fn calls_that_are_open_learn_what_others_spent() {
    let [gone, here] = [(); 2].map(|()| Router::new());
    gone.runs(async |ledger| spend(&ledger, "", 990, time(NOON)).await).await;
    here.runs(async |ledger| {
        let mut purse = ledger.purse("acme", "", time(NOON)).await.expect("reads");
        assert_eq!(purse.may(50, time(NOON)), Ok(()));
        gone.is_looked_into_by(&ledger).await;
        assert!(purse.may(50, time(NOON)).is_err());
        assert_eq!(purse.may(10, time(NOON)), Ok(()));
    })
    .await;
}

#[tokio::test]
async fn an_account_that_rests_since_yesterday_learns_what_others_spent_today() {
    let [gone, here] = [(); 2].map(|()| Router::new());
    gone.runs(async |ledger| {
        let notices = spend(&ledger, "", 1_000, time(NEXT_DAY)).await;
        assert_eq!(notices.last().map(|notice| notice.passed), Some(Passed::Stop));
    })
    .await;
    here.runs(async |ledger| {
        spend(&ledger, "", 5, time(NOON)).await;
        gone.is_looked_into_at(&ledger, time(NEXT_DAY)).await;
        assert_eq!(told(&ledger, "", time(NEXT_DAY)).await, [row("day", "", 1_000, 0)]);
        let mut purse = ledger.purse("acme", "", time(NEXT_DAY)).await.expect("reads");
        assert_eq!(purse.may(0, time(NEXT_DAY)).expect_err("used up").refused.spent, 1_000);
        assert!(purse.notices().is_empty(), "the other one told somebody");
    })
    .await;
}

/// As after a look that was cut short: the disk knows more than the account.
#[tokio::test]
async fn an_account_that_rests_since_yesterday_is_shown_as_the_disk_knows_it() {
    let [gone, here] = [(); 2].map(|()| Router::new());
    let rows = gone.runs(async |ledger| {
        spend(&ledger, "", 9, time(NEXT_DAY)).await;
        store::page(&ledger.store, None, 9).await.expect("reads")
    });
    let rows = rows.await;
    here.runs(async |ledger| {
        spend(&ledger, "", 5, time(NOON)).await;
        let origin = Arc::clone(&ledger.origin);
        let copy = ledger.store.writer().write(move |connection| {
            Box::pin(
                async move { store::copy(connection, &origin, &rows).await.map_err(WriteError::NotWritten) },
            )
        });
        copy.await.expect("written");
        assert_eq!(told(&ledger, "", time(NEXT_DAY)).await, [row("day", "", 9, 0)]);
        assert_eq!(told(&ledger, "", time(NOON)).await, [row("day", "", 5, 0)]);
    })
    .await;
}

/// Whoever learns is killed at some point: what is copied is there, nothing else is, and the next look does the rest.
#[tokio::test]
async fn a_look_that_is_cut_short_is_made_good_by_the_next() {
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut dice = StdRng::seed_from_u64(seed);
    let [gone, here] = [(); 2].map(|()| Router::new());
    gone.runs(async |ledger| {
        for at in 0..600 {
            spend(&ledger, &format!("s{at}"), 1, time(NOON)).await;
        }
    })
    .await;
    let path = gone.folder.path().join("router.db");
    let left = Store::open(&path, &crate::MIGRATIONS).await.expect("opens");
    for _ in 0..5 {
        let polls = dice.random_range(1..40);
        here.runs(async |ledger| {
            let mut look = Box::pin(ledger.learn(&left, time(NOON)));
            for _ in 0..polls {
                if futures::poll!(look.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    here.runs(async |ledger| {
        assert_eq!(ledger.learn(&left, time(NOON)).await.expect("learns"), 601, "seed {seed}");
        assert_eq!(of_the_day(&ledger).await, 600, "seed {seed}");
        let sessions = told(&ledger, "", time(NOON)).await;
        assert!(sessions.iter().skip(1).all(|row| row.2 == 1) && sessions.len() == 601, "seed {seed}");
    })
    .await;
}

#[tokio::test]
async fn what_is_over_is_not_learnt() {
    let [gone, here] = [(); 2].map(|()| Router::new());
    gone.runs(async |ledger| spend(&ledger, "s1", 9, time(NOON)).await).await;
    here.runs(async |ledger| {
        let path = gone.folder.path().join("router.db");
        let store = Store::open(&path, &crate::MIGRATIONS).await.expect("opens");
        ledger.learn(&store, time(NEXT_DAY)).await.expect("learns");
        assert_eq!(
            told(&ledger, "", time(NEXT_DAY)).await,
            [row("day", "", 0, 0), row("session", "s1", 9, 0)]
        );
        assert_eq!(rows(&ledger.store).await, 1);
    })
    .await;
}

#[tokio::test]
async fn what_was_spent_before_rows_had_an_origin_is_this_stores_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("router.db");
    let before = crate::MIGRATIONS.iter().take(3).cloned().collect::<Vec<_>>();
    let before = Migrator { migrations: before.into(), ..Migrator::DEFAULT };
    let old = Store::open(&path, &before).await.expect("opens");
    let insert =
        "INSERT INTO spending VALUES ('day/day', 'acme', '', ?, 70), ('session/none', 'acme', 's1', 0, 30)";
    let start = Period::Day.at(time(NOON)).start.expect("a day").as_millisecond();
    let insert = sqlx::query(insert).bind(start);
    let write = old.writer().write(|connection| {
        Box::pin(async move { insert.execute(connection).await.map(drop).map_err(WriteError::NotWritten) })
    });
    write.await.expect("written");
    old.close().await;
    drop(old);
    let (_store, ledger) = open(&folder).await;
    spend(&ledger, "s1", 5, time(NOON)).await;
    let all = [row("day", "", 75, 0), row("session", "s1", 35, 0)];
    assert_eq!(told(&ledger, "", time(NOON)).await, all);
    assert_eq!(rows(&ledger.store).await, 2);
}

#[test]
fn accounts_in_use_are_not_looked_through_for_each_new_one() {
    let account = |users| {
        let mut account = Account::new(None, Known::default());
        account.users = users;
        account
    };
    let key = |session: usize| Key { session_id: session.to_string(), ..key() };
    let mut books = Books::default();
    books.accounts.extend((0..SWEEP_MIN).map(|session| (key(session), account(1))));
    books.forget_idle();
    books.accounts.insert(key(SWEEP_MIN), account(0));
    books.forget_idle();
    assert_eq!((books.accounts.len(), books.changes), (SWEEP_MIN + 1, 0), "too early for another look");
    books.accounts.extend((SWEEP_MIN + 1..2 * SWEEP_MIN).map(|session| (key(session), account(1))));
    books.forget_idle();
    assert_eq!((books.accounts.len(), books.changes), (2 * SWEEP_MIN - 1, 1), "there are twice as many");
}
