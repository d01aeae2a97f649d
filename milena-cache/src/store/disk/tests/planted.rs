//! The tests are tested: with each planted bug the model test fails.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};

use super::super::planted::Bug;
use super::dirty_model;
use super::fixture::Fixture;
use super::model::{self, Step};

/// Whether the model test fails for one of many runs of these steps, always the same runs.
fn fails(bug: Option<Bug>, fixture: fn() -> Fixture, step: BoxedStrategy<Step>) -> bool {
    fails_by(step, |steps| {
        let fixture = Fixture {
            planted: bug,
            ..fixture()
        };
        model::run(fixture, steps);
    })
}

fn fails_by<S: Debug + Clone>(step: BoxedStrategy<S>, run: impl Fn(&[S])) -> bool {
    let config = ProptestConfig {
        cases: 100,
        max_shrink_iters: 0,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(config, random);
    let steps = prop::collection::vec(step, 20..100);
    let result = runner.run(&steps, |steps| {
        run(&steps);
        Ok(())
    });
    result.is_err()
}

fn dirty(bug: Option<Bug>) -> bool {
    fails_by(dirty_model::step().boxed(), |steps| {
        let fixture = dirty_model::fixture(true, 40 << 10, bug);
        dirty_model::run(fixture, steps);
    })
}

fn in_order(bug: Option<Bug>) -> bool {
    fails(bug, || model::roomy(false), model::step().boxed())
}

fn synced(bug: Option<Bug>) -> bool {
    fails(
        bug,
        || model::roomy(true).with_value_files(),
        model::step().boxed(),
    )
}

fn out_of_order(bug: Option<Bug>) -> bool {
    let step = model::out_of_order_step().boxed();
    fails(bug, || model::roomy(false), step)
}

fn out_of_order_for_space(bug: Option<Bug>) -> bool {
    let fixture = || model::roomy(false).with_max_bytes(24 << 10);
    fails(bug, fixture, model::out_of_order_step().boxed())
}

fn with_flips(bug: Option<Bug>) -> bool {
    let fixture = || model::roomy(false).with_value_files();
    fails(bug, fixture, model::step_or_flip().boxed())
}

fn dirty_out_of_order(bug: Option<Bug>) -> bool {
    fails_by(dirty_model::out_of_order_step().boxed(), |steps| {
        let fixture = dirty_model::fixture(false, model::ROOMY_BYTES, bug);
        dirty_model::run(fixture, steps);
    })
}

#[test]
fn a_delete_without_a_record_is_found() {
    assert!(in_order(Some(Bug::DeletesWithoutRecord)));
}

#[test]
fn tombstones_that_are_dropped_too_early_are_found() {
    assert!(out_of_order(Some(Bug::DropsTombstones)));
}

#[test]
fn replaced_records_that_are_carried_over_are_found() {
    assert!(out_of_order_for_space(Some(Bug::CarriesWhatWasReplaced)));
}

#[test]
fn records_that_forget_what_they_hide_are_found() {
    assert!(out_of_order(Some(Bug::ForgetsWhatItHides)));
}

#[test]
fn trust_in_what_a_power_loss_left_is_found() {
    assert!(in_order(Some(Bug::TrustsWhatPowerLossLeft)));
}

#[test]
fn a_skipped_checksum_is_found() {
    assert!(with_flips(Some(Bug::SkipsChecksum)));
}

#[test]
fn an_acknowledgement_before_the_write_is_found() {
    assert!(in_order(Some(Bug::AcknowledgesBeforeWrite)));
}

#[test]
fn an_acknowledgement_before_the_sync_is_found() {
    assert!(synced(Some(Bug::AcknowledgesBeforeSync)));
}

#[test]
fn dirty_records_that_are_dropped_are_found() {
    assert!(dirty(Some(Bug::DropsWhatIsDirty)));
}

#[test]
fn dirty_records_that_are_forgotten_are_found() {
    assert!(dirty(Some(Bug::ForgetsWhatIsDirty)));
}

#[test]
fn a_list_of_dirty_records_that_is_dropped_is_found() {
    assert!(dirty_out_of_order(Some(Bug::DropsTheList)));
}

#[test]
fn a_mark_for_what_is_newer_is_found() {
    assert!(dirty(Some(Bug::MarksWhatIsNewer)));
}

#[test]
fn without_a_bug_the_same_runs_find_nothing() {
    let suites = [
        in_order,
        synced,
        out_of_order,
        out_of_order_for_space,
        with_flips,
        dirty,
        dirty_out_of_order,
    ];
    for (number, suite) in suites.into_iter().enumerate() {
        assert!(!suite(None), "suite {number}");
    }
}
