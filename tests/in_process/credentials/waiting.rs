//! What is given to those who wait for another's call.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tower_response_cache::Policy;

use super::CREDENTIALS;
use crate::support::{Answer, Bench, MINUTE, Origin, respond, sent, settle};

/// Sends one request that waits in the handler, and others that could share its answer; then lets
/// all go.
async fn crowd(
    policy: Policy,
    fields: &'static [(&'static str, &'static str)],
    asking: &[&'static [(&'static str, &'static str)]],
) -> Vec<Answer> {
    let gate = Arc::new(Semaphore::new(0));
    let waiting = gate.clone();
    let origin = Origin::new(move |request, _| {
        let gate = waiting.clone();
        async move {
            gate.acquire().await.unwrap().forget();
            let mut own = fields.to_vec();
            let user = sent(&request, "x-asker");
            let cookie = format!("session={user}");
            if fields.contains(&("x-sets", "cookie")) {
                own.push(("set-cookie", &cookie));
            }
            respond(200, &own, user)
        }
    });
    let bench = Arc::new(Bench::new(policy, origin));
    let mut tasks = Vec::new();
    for fields in asking {
        let (bench, fields) = (bench.clone(), *fields);
        tasks.push(tokio::spawn(
            async move { bench.get_with("/", fields).await },
        ));
        settle().await;
    }
    gate.add_permits(100);
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

#[tokio::test]
async fn set_cookie_is_not_given_to_those_who_wait() {
    let answers = crowd(
        Policy::ttl(MINUTE),
        &[("x-sets", "cookie")],
        &[
            &[("x-asker", "a")],
            &[("x-asker", "b")],
            &[("x-asker", "c")],
        ],
    )
    .await;
    for (answer, user) in answers.iter().zip(["a", "b", "c"]) {
        assert_eq!(answer.text(), user);
        assert_eq!(answer.field("set-cookie"), format!("session={user}"));
    }
}

#[tokio::test]
async fn stored_without_set_cookie_it_is_given_to_the_one_it_was_set_for() {
    let answers = crowd(
        Policy::ttl(MINUTE).store_without_set_cookie(),
        &[("x-sets", "cookie")],
        &[&[("x-asker", "a")], &[("x-asker", "b")]],
    )
    .await;
    assert_eq!(answers[0].field("set-cookie"), "session=a");
    assert_eq!(answers[1].text(), "a");
    assert_eq!(answers[1].field("set-cookie"), "(absent)");
}

#[tokio::test]
async fn private_no_store_and_no_cache_are_not_given_to_those_who_wait() {
    for fields in [
        &[("cache-control", "private")],
        &[("cache-control", "no-store")],
        &[("cache-control", "no-cache")],
        &[("vary", "*")],
    ] {
        let answers = crowd(
            Policy::ttl(MINUTE),
            fields,
            &[&[("x-asker", "a")], &[("x-asker", "b")]],
        )
        .await;
        assert_eq!(answers[1].text(), "b", "{fields:?}");
    }
}

#[tokio::test]
async fn a_user_neither_waits_for_another_nor_is_waited_for() {
    for name in CREDENTIALS {
        let (alice, nobody): (&'static [_], &'static [_]) = match name {
            "cookie" => (
                &[("cookie", "a"), ("x-asker", "a")],
                &[("x-asker", "nobody")],
            ),
            _ => (
                &[("authorization", "a"), ("x-asker", "a")],
                &[("x-asker", "nobody")],
            ),
        };
        for order in [[alice, nobody], [nobody, alice]] {
            let answers = crowd(Policy::ttl(MINUTE), &[], &order).await;
            assert_eq!(answers[0].text(), order[0][order[0].len() - 1].1);
            assert_eq!(answers[1].text(), order[1][order[1].len() - 1].1);
        }
    }
}
