//! The conformance kit can fail: each of these stores breaks a promise, and a claim notices.
//!
//! A [`Broken`] store is a sound one with one [`Fault`]. Each test below is named after a claim of
//! the kit and a fault that it must catch; a store without a fault passes all claims.

mod fault;

mod store;

mod writes;

mod indexes;

mod journal;

use std::env;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use store_conformance::{FileStore, Harness};
use store_core::{CleanupOptions, Limits};

use crate::fault::Fault;
use crate::store::Broken;

/// Small, so that data at the limit is quick to make.
const LIMITS: Limits = Limits { max_token_len: 255, max_data_len: 1 << 20 };

/// Smaller, because a journal is read as often as there are stores on it.
const FILE_LIMITS: Limits = Limits { max_data_len: 70_000, ..LIMITS };

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens stores with one fault.
struct Faulty(Fault);

impl Harness for Faulty {
    type Store = Broken;

    fn store(&self, cleanup: CleanupOptions) -> Broken {
        Broken::open(self.0, cleanup, None).expect("a thread starts")
    }

    fn limits(&self) -> Limits {
        LIMITS
    }

    fn patience(&self) -> Duration {
        if self.0.hangs() { Duration::from_millis(300) } else { Duration::from_secs(60) }
    }
}

/// Names a fault to a child process, which knows its test alone.
trait HasFault: 'static {
    const FAULT: Fault;
}

/// Opens stores with one fault that several processes share.
struct Journal<F>(PhantomData<F>);

impl<F: HasFault> FileStore for Journal<F> {
    type Store = Broken;

    const LIMITS: Limits = FILE_LIMITS;

    fn open(path: &Path, cleanup: CleanupOptions) -> Broken {
        Broken::open(F::FAULT, cleanup, Some(path)).expect("a thread starts")
    }
}

/// What is drawn at random, and what threads or processes race for, may pass a fault by: one run in
/// twenty-five did. A claim that misses a fault this often would miss it in a store.
const MAX_RUNS: usize = 4;

/// The claim must fail for a store with this fault, and by hanging only where the fault is a hang.
fn assert_caught(fault: Fault, claim: impl Fn()) {
    let mut runs = (0..MAX_RUNS).map(|_| catch_unwind(AssertUnwindSafe(&claim)));
    let Some(panic) = runs.find_map(Result::err) else {
        panic!("the claim holds for a store with the fault {fault:?}");
    };
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    assert_eq!(message.contains("did not end within"), fault.hangs(), "caught by: {message}");
}

/// The same for a claim that starts this test again as a child, which plays its part and judges
/// nothing.
fn assert_caught_between_processes(fault: Fault, claim: impl Fn()) {
    if env::var_os("STORE_CONFORMANCE_ROLE").is_some() {
        claim();
    } else {
        assert_caught(fault, claim);
    }
}

/// Makes a test of each fault behind a claim: that the claim catches it.
macro_rules! claims_catch_faults {
    ($($claim:ident: $($fault:ident)+;)+) => {$(
        #[expect(non_snake_case, reason = "the tests are named as the faults")]
        mod $claim {
            use super::{Fault, Faulty, assert_caught};
            $(
                #[test]
                fn $fault() {
                    assert_caught(Fault::$fault, || {
                        store_conformance::$claim(&Faulty(Fault::$fault));
                    });
                }
            )+
        }
    )+

        const CLAIMS: &[&str] = &[$(stringify!($claim)),+];
    };
}

/// The same for claims about several processes.
macro_rules! process_claims_catch_faults {
    ($($claim:ident: $($fault:ident)+;)+) => {$(
        #[expect(non_snake_case, reason = "the tests are named as the faults")]
        mod $claim {
            use store_conformance::TempFile;

            use super::{Fault, HasFault, Journal, assert_caught_between_processes};
            $(
                #[test]
                fn $fault() {
                    struct Named;
                    impl HasFault for Named {
                        const FAULT: Fault = Fault::$fault;
                    }
                    let name = concat!(module_path!(), "::", stringify!($fault));
                    assert_caught_between_processes(Fault::$fault, || {
                        store_conformance::$claim(TempFile::<Journal<Named>>::new, name);
                    });
                }
            )+
        }
    )+

        const PROCESS_CLAIMS: &[&str] = &[$(stringify!($claim)),+];
    };
}

claims_catch_faults! {
    missing_sessions_are_not_found: FindGivesAnotherSession DeleteDoesNothing;
    expired_session_is_not_found: FindForgetsTheExpiry WalkShowsTheExpired;
    now_is_by_the_clock_that_decides: NowIsOfAnotherClock;
    impossible_tokens_are_not_found:
        FindRefusesEmptyTokens FindRefusesOverlongTokens DeleteOfAMissingSessionFails
        RotationOfAMissingSessionFails AbsorbsTheMissing;
    data_comes_back_byte_for_byte: DataIsCutAt64KiB DataIsMadeUtf8 EmptyDataIsMissing;
    commit_overwrites_data_and_expiry:
        CommitKeepsTheOldExpiry CommitKeepsTheOldData ExpiryIsRoundedUp;
    commit_over_an_expired_session_leaves_one: CommitLeavesTheExpiredRow CleanupRemovesTheLive;
    commit_in_the_past_leaves_nothing_findable: CommitIgnoresPastExpiries CommitKeepsTheOldExpiry;
    tokens_are_compared_byte_for_byte:
        TokensFoldCase TokensFoldAccents TokensAreNormalised TokensAreTrimmed TokensEndAtNul
        TouchFoldsCase RotationFoldsCase TouchMovesAll;
    hostile_tokens_are_data: QuotesBreakTheStatement DeleteMatchesPatterns;
    invalid_tokens_are_refused:
        OverlongTokensAreCut RotationCutsOverlongTokens RotationToAnInvalidTokenDeletes
        FindCutsOverlongTokens DeleteCutsOverlongTokens AbsorptionCutsOverlongTokens;
    oversized_data_is_refused_and_changes_nothing:
        OversizedDataIsCut OversizedDataWipesTheOld OversizedDataIsMisreported;
    load_agrees_with_find: LoadForgetsTheExpiry LoadShowsALaterExpiry LoadGivesOldData;
    expiry_is_kept_to_the_millisecond:
        ExpiryIsRoundedUp ExpiryIsCutToTheSecond TouchCutsToTheSecond UpdateRoundsUp CreateRoundsUp;
    extreme_expiries_do_no_harm:
        FarExpiryWraps FarExpiryPanics FarExpiryIsMovedNearer TouchWrapsFarExpiries
        UpdatePanicsAtFarExpiries CreateWrapsFarExpiries EarlyExpiryWraps EpochMeansNever
        OutOfRangeIsReportedTooLate;
    create_makes_new_sessions_only:
        CreateOverwrites CreateRefusesExpiredTokens CreateRoundsUp;
    create_absorbs_other_sessions:
        AbsorbsNothing AbsorbsWithoutComparing AbsorbsTheMissing AbsorbsItself AbsorptionComesFirst;
    update_needs_the_current_data:
        UpdateIgnoresCurrent UpdateFoldsCase UpdateDeniesTheSameBytes UpdateKeepsTheOldExpiry
        UpdateNeverMatches RotationComesBeforeTheComparison;
    update_can_keep_the_expiry: UpdateResetsKeptExpiries UpdateCreates UpdateRevives;
    update_never_creates_or_revives: UpdateCreates UpdateRevives;
    update_absorbs_other_sessions: AbsorbsNothing AbsorbsTheMissing RotationKeepsTheOldData;
    refused_update_changes_nothing:
        UpdateIgnoresCurrent RotationComesBeforeTheComparison RefusedUpdateMovesTheExpiry
        AbsorbsNothing AbsorbsWithoutComparing AbsorbsTheMissing AbsorbsItself AbsorbsOneByOne
        AbsorptionComesFirst RotationOverwrites RotationToAnInvalidTokenDeletes
        OversizedDataIsCut OverlongSubjectsAreCut;
    update_is_seen_as_one_step:
        RotationComesFirst RotationComesLast AbsorptionComesFirst AbsorptionComesLast
        UpdateComesInParts;
    one_of_many_racing_updates_wins: UpdateIsTwoSteps UpdateIgnoresCurrent;
    one_of_many_racing_absorptions_wins: AbsorptionIsTwoSteps AbsorbsWithoutComparing;
    touch_moves_the_expiry_alone: TouchChangesTheData TouchDoesNothing TouchOnlyExtends;
    touch_never_creates_or_revives: TouchCreates TouchRevives;
    rotation_moves_the_whole_session:
        RotationCopies RotationKeepsTheOldExpiry RotationKeepsTheOldData FindFollowsRotations
        TouchFollowsRotations UpdateFollowsRotations;
    rotation_to_a_taken_token_changes_nothing: RotationOverwrites;
    rotation_of_a_missing_session_is_false:
        RotationOfAMissingSessionFails RotationRevives RotationCopies;
    rotation_is_seen_as_one_step: RotationDeletesFirst RotationDeletesLast RotationFails;
    one_of_many_racing_rotations_wins: RotationChecksFirst RotationCopies;
    delete_is_final_and_idempotent:
        DeleteOfAMissingSessionFails DeleteDoesNothing DeleteTakesEffectLater DeleteOnlyExpires;
    stores_are_shared_and_object_safe: AllShowsOne;
    random_operations_follow_the_model:
        SomeCommitsAreLost TouchMovesAll RotationCopies UpdateNeverMatches FindForgetsTheExpiry
        RotationsAreNeverForgotten AbsorbsNothing CreateOverwrites
        RotationComesBeforeTheComparison;
    concurrent_histories_are_linearizable:
        ReadsAreStale ValuesAreTorn UpdateIsTwoSteps RotationDeletesFirst CleanupReportsContention
        CreateIsTwoSteps;
    first_commits_of_one_token_leave_one_session: FirstCommitsInsertTwice;
    one_of_many_racing_creates_wins: CreateIsTwoSteps CreateOverwrites CreateRefusesExpiredTokens;
    contention_is_waited_out: ContentionIsReported UpdateIsTwoSteps UpdateNeverMatches;
    cleanup_runs_when_told: ThreadNeverRuns ThreadIsMissing;
    disabled_cleanup_never_runs: RunsAlthoughDisabled StopRunsOnceMore;
    cleanup_is_reached_through_trait_objects:
        StatisticsAreEmpty ThreadNeverRuns StopLeavesTheThread StopPanicsTheSecondTime;
    stop_is_prompt_and_idempotent:
        StopWaitsForTheTick StopLeavesTheThread StopOnlySignals StopPanicsTheSecondTime
        StopClosesTheStore;
    stop_may_be_called_by_many_threads:
        StopWaitsForTheTick StopLeavesTheThread StopPanicsTheSecondTime
        StopWaitsForTheFirstCallerOnly;
    stop_ends_a_run_after_its_batch: CleanupIsOneBatch;
    dropping_the_store_stops_the_thread: DropLeaksTheThread;
    cleanup_removes_the_expired_and_only_those:
        CleanupRemovesTheLive CleanupMiscounts CleanupRemovesOneBatch;
    cleanup_gives_way_between_batches: CleanupHoldsTheLock CleanupEndsAfterABatch;
    cleanup_never_removes_a_renewed_session: CleanupPicksFirst CleanupRemovesTheLive;
    walk_sees_each_live_session_once: WalkShowsTheExpired WalkShowsOneTwice WalkSkipsAtPages;
    walk_sees_rotated_and_rewritten_sessions_once: WalkInOrderOfTokens CommitMovesToTheEnd;
    walk_stops_early: WalkIgnoresTheBreak;
    walk_holds_no_lock: WalkHoldsALock;
    count_agrees_with_all:
        CountIncludesTheExpired CountIncludesOldTokens AllShowsOne WalkShowsTheExpired
        AbsorbsNothing;
    forked_process_is_told_and_harms_nothing:
        FindIgnoresTheFork StopHangsAfterAFork;
    secrets_stay_out_of_errors_logs_and_debug_output:
        ErrorsNameTheToken DebugShowsTheToken DebugShowsTheData CommitLogsTheToken
        FindLogsTheToken LoadLogsTheToken CreateLogsTheToken UpdateLogsTheData TouchLogsTheToken
        RotationLogsTheToken AbsorptionLogsTheToken DeleteLogsTheToken WalkLogsTheToken
        CleanupLogsTheToken;

    // The indexes.
    subject_finds_its_live_sessions:
        EarlierSubjectsStay UpdateForgetsTheSubject CreateForgetsTheSubject
        FindBySubjectShowsALaterExpiry;
    subject_of_a_session_is_the_one_it_is_found_by:
        SubjectOfShowsTheExpired SubjectOfFollowsRotations SubjectOfIsNone
        UpdateForgetsTheSubject CreateKeepsTheExpiredSubject;
    writes_leave_the_subject_alone:
        CommitClearsTheSubject UpdateClearsTheSubject TouchClearsTheSubject
        AbsorbsNothing;
    created_session_has_its_own_subject:
        CreateForgetsTheSubject CreateKeepsTheExpiredSubject RefusedCreateSetsTheSubject
        CreateOverwrites OverlongSubjectsAreCut;
    commit_over_an_expired_session_has_no_subject:
        CommitKeepsTheExpiredSubject CommitClearsTheSubject;
    subject_follows_a_rotation: RotationLosesTheSubject RotationOverwrites;
    subject_ends_with_the_session:
        DeleteOnlyExpires FindBySubjectShowsTheExpired SubjectOutlivesTheSession
        CreateKeepsTheExpiredSubject AbsorbsNothing;
    refused_subject_is_not_kept:
        UpdateCreates UpdateRevives RefusedUpdateSetsTheSubject RefusedSubjectIsKept;
    deleting_by_subject_removes_all_but_one:
        DeleteBySubjectTakesAll DeleteBySubjectOnlyClears DeleteBySubjectCountsTheExpired;
    subjects_are_compared_byte_for_byte: SubjectsFoldCase OverlongSubjectsAreCut;
    racing_logins_and_logouts_leave_a_true_index: RotationLosesTheSubject UpdateForgetsTheSubject;
    update_needs_the_expected_sessions:
        ExpectsNothing ExpectsAtLeast ExpectsAtMost ExpectsTheNumber ExpectsTheOrder
        ExpectsTheExpired UnmetExpectationAbsorbs UnmetExpectationIsAnError UpdateIgnoresCurrent
        AbsorbsNothing;
    create_needs_the_expected_sessions:
        ExpectsNothing ExpectsAtLeast ExpectsAtMost ExpectsTheNumber ExpectsTheOrder
        ExpectsTheExpired UnmetExpectationAbsorbs UnmetExpectationIsAnError AbsorbsNothing
        CreateForgetsTheSubject;
    racing_logins_keep_a_limit: ExpectationIsReadFirst;
    old_tokens_lead_to_the_newest:
        RotationsAreForgotten LoadFollowsOneRotation LoadNamesTheNextToken EveryOldTokenOpens
        NoOldTokenOpens LaterRotationsForbidNothing LastRotationDecides;
    old_token_finds_and_writes_nothing:
        FindFollowsRotations TouchFollowsRotations UpdateFollowsRotations
        AbsorptionFollowsRotations CountIncludesOldTokens;
    old_token_can_be_used_again: OldTokensAreTaken LoadPrefersTheRotation;
    grace_ends: RotationsAreNeverForgotten RotationsAreForgotten;
    cleanup_leaves_rotations_that_last: CleanupForgetsRotations CleanupCountsRotations;
    absorbed_tokens_lead_to_the_absorbing_session:
        AbsorptionIsTwoSteps AbsorbsNothing LaterRotationsForbidNothing;
    tokens_of_an_ended_session_lead_nowhere: EndedLeadOn AbsorbsNothing;
    old_tokens_end_with_the_session: RotationsOutliveTheSession;
    delete_follows_rotations:
        DeleteFollowsNoRotation DeleteFollowsOneRotation RotationsAreForgotten;
    exception_of_delete_by_subject_follows_rotations:
        ExceptionFollowsNoRotation DeleteBySubjectTakesAll;
    old_tokens_are_compared_byte_for_byte: LoadFoldsTheCaseOfOldTokens;
    refused_update_leaves_the_indexes_alone:
        FailedUpdateLeavesARotation RotationComesBeforeTheComparison RefusedUpdateSetsTheSubject
        RefusedCreateSetsTheSubject RefusedUpdateMovesTheExpiry AbsorbsWithoutComparing
        AbsorbsOneByOne AbsorbsNothing;
    update_does_all_of_a_change:
        UpdateForgetsTheSubject UpdateClearsTheSubject RotationLosesTheSubject AbsorbsNothing
        RotationsAreForgotten RotationsAreNeverForgotten LoadFollowsOneRotation
        LaterRotationsForbidNothing UpdateKeepsTheOldExpiry RotationKeepsTheOldData;
    random_operations_on_indexes_follow_the_model:
        ExpectsNothing ExpectsAtLeast ExpectsAtMost
        UpdateForgetsTheSubject RotationLosesTheSubject CreateForgetsTheSubject
        RotationsAreForgotten RotationsAreNeverForgotten LoadFollowsOneRotation
        DeleteFollowsNoRotation FailedUpdateLeavesARotation;
    concurrent_histories_of_indexes_are_linearizable:
        LoadIsTwoReads FindBySubjectIsTwoReads DeleteBySubjectIsManySteps SubjectComesLast
        UpdateComesInParts;
    delete_ends_a_session_that_is_being_rotated:
        DeleteFollowsNoRotation DeleteFollowsOneRotation DeleteFollowsInTwoSteps;
    delete_by_subject_ends_sessions_that_are_being_rotated:
        DeleteBySubjectReadsFirst ExceptionFollowsNoRotation ExceptionIsReadFirst;
    load_never_loses_a_rotated_session: LoadIsTwoReads LoadFollowsOneRotation;
    find_by_subject_sees_a_rotated_session_once: FindBySubjectIsTwoReads RotationLosesTheSubject;
    find_by_subject_sees_changes_as_one_step:
        SubjectComesLast AbsorptionComesFirst AbsorptionComesLast FindBySubjectIsTwoReads;
    delete_by_subject_is_seen_as_one_step: DeleteBySubjectIsManySteps;
    delete_all_ends_every_session: DeleteAllLeavesTheExpired DeleteAllLeavesTheSubjects;
    racing_creates_leave_one_subject: CreateIsTwoSteps RefusedCreateSetsTheSubject;
}

process_claims_catch_faults! {
    killed_process_loses_no_commit: WritesAreBuffered;
    expiry_does_not_depend_on_the_time_zone: ClockIsLocal;
    processes_count_together: UpdateIsTwoSteps WritesAreBuffered;
    processes_race_to_create: CreateIsTwoSteps CreateOverwrites;
    processes_clean_up_together: CleanupMiscounts CleanupRemovesTheLive;
    killed_process_leaves_no_half_update:
        UpdateComesInParts SubjectComesLast AbsorptionComesLast CreateSetsTheSubjectLater
        WritesAreBuffered;
    grace_is_seen_by_other_processes:
        GraceIsCountedPerProcess DeleteFollowsNoRotation DeleteFollowsOneRotation;
    process_ends_a_session_that_another_rotates:
        GraceIsCountedPerProcess DeleteFollowsNoRotation DeleteFollowsInTwoSteps;
    processes_keep_a_limit: ExpectationIsReadFirst;
}

#[test]
fn each_claim_can_fail() {
    let shown = [CLAIMS, PROCESS_CLAIMS].concat();
    for claim in store_conformance::__claim_names() {
        assert!(shown.contains(&claim), "no fault shows that {claim} can fail");
    }
}

mod no_fault {
    use super::{Fault, Faulty};

    store_conformance::conformance_tests!(Faulty(Fault::None), indexes);
}

/// A sound store that several processes share keeps what is promised between processes.
mod no_fault_in_a_file {
    use store_conformance::TempFile;

    use super::{Fault, HasFault, Journal};

    struct Sound;

    impl HasFault for Sound {
        const FAULT: Fault = Fault::None;
    }

    store_conformance::conformance_tests!(
        TempFile::<Journal<Sound>>::new(),
        indexes,
        durable,
        shared
    );
}
