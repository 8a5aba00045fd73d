//! What can be wrong with a store.

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing: the control.
    None,

    // Finding.
    FindForgetsTheExpiry,
    FindRefusesEmptyTokens,
    FindRefusesOverlongTokens,
    FindCutsOverlongTokens,
    FindGivesAnotherSession,
    EmptyDataIsMissing,
    DataIsCutAt64KiB,
    DataIsMadeUtf8,

    LoadForgetsTheExpiry,
    LoadShowsALaterExpiry,
    LoadGivesOldData,

    // Committing.
    CommitKeepsTheOldExpiry,
    CommitKeepsTheOldData,
    CommitLeavesTheExpiredRow,
    CommitIgnoresPastExpiries,
    CommitKeepsTheExpiredSubject,

    // Tokens.
    TokensFoldCase,
    TokensFoldAccents,
    TokensAreNormalised,
    TokensAreTrimmed,
    TokensEndAtNul,
    TouchFoldsCase,
    RotationFoldsCase,
    QuotesBreakTheStatement,
    DeleteMatchesPatterns,

    // Limits.
    OverlongTokensAreCut,
    RotationCutsOverlongTokens,
    RotationToAnInvalidTokenDeletes,
    DeleteCutsOverlongTokens,
    AbsorptionCutsOverlongTokens,
    OversizedDataIsCut,
    OversizedDataWipesTheOld,
    OversizedDataIsMisreported,

    // Expiries.
    ExpiryIsRoundedUp,
    ExpiryIsCutToTheSecond,
    TouchCutsToTheSecond,
    FarExpiryWraps,
    FarExpiryPanics,
    FarExpiryIsMovedNearer,
    TouchWrapsFarExpiries,
    UpdatePanicsAtFarExpiries,
    CreateWrapsFarExpiries,
    EarlyExpiryWraps,
    EpochMeansNever,
    ClockIsLocal,
    NowIsOfAnotherClock,
    OutOfRangeIsReportedTooLate,

    // Creating.
    CreateOverwrites,
    CreateRefusesExpiredTokens,
    CreateRoundsUp,
    CreateIsTwoSteps,
    CreateSetsTheSubjectLater,
    CreateForgetsTheSubject,
    CreateKeepsTheExpiredSubject,
    RefusedCreateSetsTheSubject,

    // Updating.
    UpdateCreates,
    UpdateRevives,
    UpdateIgnoresCurrent,
    UpdateFoldsCase,
    UpdateDeniesTheSameBytes,
    UpdateKeepsTheOldExpiry,
    UpdateResetsKeptExpiries,
    UpdateRoundsUp,
    UpdateNeverMatches,
    UpdateIsTwoSteps,
    UpdateComesInParts,
    RefusedUpdateMovesTheExpiry,

    // Expecting sessions.
    ExpectsNothing,
    ExpectsAtLeast,
    ExpectsAtMost,
    ExpectsTheNumber,
    ExpectsTheOrder,
    ExpectsTheExpired,
    ExpectationIsReadFirst,
    UnmetExpectationAbsorbs,
    UnmetExpectationIsAnError,

    // Absorbing.
    AbsorbsNothing,
    AbsorbsWithoutComparing,
    AbsorbsTheMissing,
    AbsorbsItself,
    AbsorbsOneByOne,
    EndedLeadOn,
    AbsorptionIsTwoSteps,
    AbsorptionComesFirst,
    AbsorptionComesLast,
    AbsorptionFollowsRotations,

    // Touching.
    TouchCreates,
    TouchRevives,
    TouchChangesTheData,
    TouchDoesNothing,
    TouchOnlyExtends,
    TouchMovesAll,
    TouchFollowsRotations,

    // Rotating.
    RotationComesFirst,
    RotationComesLast,
    RotationComesBeforeTheComparison,
    RotationCopies,
    RotationDeletesFirst,
    RotationDeletesLast,
    RotationOverwrites,
    RotationChecksFirst,
    RotationKeepsTheOldExpiry,
    RotationKeepsTheOldData,
    RotationRevives,
    RotationOfAMissingSessionFails,
    RotationFails,

    // The grace.
    RotationsAreForgotten,
    RotationsAreNeverForgotten,
    RotationsOutliveTheSession,
    FailedUpdateLeavesARotation,
    LoadFollowsOneRotation,
    LoadNamesTheNextToken,
    LoadIsTwoReads,
    LoadPrefersTheRotation,
    LoadFoldsTheCaseOfOldTokens,
    EveryOldTokenOpens,
    NoOldTokenOpens,
    LaterRotationsForbidNothing,
    LastRotationDecides,
    FindFollowsRotations,
    UpdateFollowsRotations,
    OldTokensAreTaken,
    GraceIsCountedPerProcess,
    CleanupForgetsRotations,
    CleanupCountsRotations,

    // Deleting.
    DeleteOfAMissingSessionFails,
    DeleteDoesNothing,
    DeleteTakesEffectLater,
    DeleteOnlyExpires,
    DeleteFollowsNoRotation,
    DeleteFollowsOneRotation,
    DeleteFollowsInTwoSteps,

    // Many at once.
    SomeCommitsAreLost,
    WritesAreBuffered,
    ValuesAreTorn,
    ReadsAreStale,
    FirstCommitsInsertTwice,
    ContentionIsReported,
    CleanupReportsContention,

    // After a fork.
    FindIgnoresTheFork,
    StopHangsAfterAFork,

    // The cleanup thread.
    ThreadNeverRuns,
    ThreadIsMissing,
    RunsAlthoughDisabled,
    StopRunsOnceMore,
    StopWaitsForTheTick,
    StopLeavesTheThread,
    StopOnlySignals,
    StopPanicsTheSecondTime,
    StopWaitsForTheFirstCallerOnly,
    StopClosesTheStore,
    DropLeaksTheThread,
    CleanupIsOneBatch,
    StatisticsAreEmpty,

    // The cleanup.
    CleanupEndsAfterABatch,
    CleanupHoldsTheLock,
    CleanupRemovesTheLive,
    CleanupMiscounts,
    CleanupRemovesOneBatch,
    CleanupPicksFirst,

    // Walking and counting.
    WalkShowsTheExpired,
    WalkShowsOneTwice,
    WalkSkipsAtPages,
    WalkIgnoresTheBreak,
    WalkHoldsALock,
    WalkInOrderOfTokens,
    CommitMovesToTheEnd,
    AllShowsOne,
    CountIncludesTheExpired,
    CountIncludesOldTokens,

    // Subjects.
    SubjectsFoldCase,
    EarlierSubjectsStay,
    RotationLosesTheSubject,
    UpdateForgetsTheSubject,
    UpdateClearsTheSubject,
    CommitClearsTheSubject,
    TouchClearsTheSubject,
    SubjectComesLast,
    RefusedUpdateSetsTheSubject,
    RefusedSubjectIsKept,
    SubjectOutlivesTheSession,
    FindBySubjectShowsTheExpired,
    FindBySubjectShowsALaterExpiry,
    FindBySubjectIsTwoReads,
    SubjectOfShowsTheExpired,
    SubjectOfFollowsRotations,
    SubjectOfIsNone,
    DeleteBySubjectTakesAll,
    DeleteBySubjectCountsTheExpired,
    DeleteBySubjectOnlyClears,
    DeleteBySubjectIsManySteps,
    DeleteBySubjectReadsFirst,
    DeleteAllLeavesTheExpired,
    DeleteAllLeavesTheSubjects,
    ExceptionFollowsNoRotation,
    ExceptionIsReadFirst,
    OverlongSubjectsAreCut,

    // Secrets.
    ErrorsNameTheToken,
    DebugShowsTheToken,
    DebugShowsTheData,
    CommitLogsTheToken,
    FindLogsTheToken,
    LoadLogsTheToken,
    CreateLogsTheToken,
    UpdateLogsTheData,
    TouchLogsTheToken,
    RotationLogsTheToken,
    AbsorptionLogsTheToken,
    DeleteLogsTheToken,
    WalkLogsTheToken,
    CleanupLogsTheToken,
}

impl Fault {
    /// Whether the store with this fault stops answering, which costs the patience.
    pub(crate) fn hangs(self) -> bool {
        matches!(
            self,
            Self::StopHangsAfterAFork
                | Self::StopWaitsForTheTick
                | Self::CleanupEndsAfterABatch
                | Self::CleanupHoldsTheLock
                | Self::WalkHoldsALock
        )
    }
}
