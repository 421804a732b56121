//! Stories and entries, whole and cut.

use super::world::*;
use crate::message::Story;
use control::story;
use model::Seq;

#[tokio::test]
async fn a_story_is_the_text_and_its_lines() {
    let world = World::start().await;
    let shop = world.with_service("shop").await;
    let change = world.client.service(&shop).await.unwrap().change.unwrap();
    let Story { subject, lines, left_out, text } = world.client.story(Some(&change.to_string()), true).await.unwrap();
    assert_eq!((subject, left_out), (change.to_string(), 0));
    let ledger = world.backend.ledger.lock().unwrap().clone();
    let about = story::Subject::Change(change);
    let entries: Vec<_> = ledger.iter().filter(|entry| about.concerns(entry)).collect();
    assert!(entries.len() > 1);
    assert_eq!(text, story::tell(entries.iter().copied()));
    assert_eq!(
        lines.iter().map(|line| line.seq).collect::<Vec<_>>(),
        entries.iter().map(|e| e.seq).collect::<Vec<_>>()
    );
    assert_eq!((lines[0].kind.as_str(), lines[0].why.as_deref()), ("change.proposed", Some("faster checkout")));
    assert_eq!(lines[0].since_ms, 0);
}

#[tokio::test]
async fn a_story_that_is_too_long_is_cut_at_its_beginning_and_says_so() {
    let world = World::start().await;
    world.record(10_007).await;
    let story = world.client.story(None, false).await.unwrap();
    assert_eq!((story.subject.as_str(), story.left_out, story.lines.len()), ("everything", 7, 10_000));
    assert_eq!((story.lines[0].seq, story.lines[9_999].seq), (Seq(7), Seq(10_006)));
    assert!(story.text.starts_with("… 7 earlier lines are left out …\n"));
    assert_eq!(story.text.lines().count(), 10_001);
}

#[tokio::test]
async fn entries_are_read_in_pages_that_follow_each_other() {
    let world = World::start().await;
    world.record(2_500).await;
    let (mut next, mut pages, mut seen) = (Seq(0), Vec::new(), Vec::new());
    loop {
        let page = world.client.entries(next, None).await.unwrap();
        assert_eq!(page.length, 2_500);
        if page.entries.is_empty() {
            break;
        }
        pages.push(page.entries.len());
        seen.extend(page.entries);
        next = page.next;
    }
    assert_eq!(pages, [1_000, 1_000, 500]);
    assert_eq!(seen, *world.backend.ledger.lock().unwrap());
    assert_eq!(world.client.entries(Seq(3), Some(2)).await.unwrap().next, Seq(5));
    assert_eq!(world.client.entries(Seq(9_999), None).await.unwrap().next, Seq(9_999));
}

#[tokio::test]
async fn a_short_story_of_small_facts_only_is_empty_and_a_long_one_is_not() {
    let world = World::start().await;
    world.with_service("shop").await;
    assert_eq!(world.client.story(Some("INS-1"), false).await.unwrap().text, "");
    assert_eq!(world.client.story(Some("INS-1"), true).await.unwrap().lines[0].kind, "instance.placed");
}
