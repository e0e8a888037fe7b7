/* The token keeps writes apart where time does not: the grant, its calls, the fence, with two candidates.
 *
 * There is no clock here: a session is closed at any moment, also under a running body (a virtual machine that was
 * paused), and only the bodies of open sessions are counted. One step of one process is one `d_step`; which process steps
 * next is free, so every process pauses wherever it likes and every call arrives late, twice or never.
 *
 * Rules are PROTOCOL.md's; -D NO_... takes one out. -D CHECK=n looks at one property alone.
 */
#ifndef TAKES
#define TAKES 3                 /* the highest token: the model's only bound */
#endif

#ifndef CHECK
#define CHECK 0
#endif
#define holds(property, sentence) assert((CHECK != 0 && CHECK != property) || (sentence))
#define BODIES 1                /* never two bodies, neither of which has lost its session */
#define TOKENS 3                /* a take's token is above all that a fence has seen */
#define WRITES 4                /* no write accepted after a newer term has read or written */
#define KNOWS 5                 /* no living holder who does not know */

#define VACANT 2                /* the grant's holder is a candidate's present session, nobody, or a session long gone */
#define GONE 3

mtype = { out, idle, looking, judging, taking, won, fenced, works, releasing }; /* a candidate on its trip */
mtype = { none, take, release };                /* a call for the grant, and a copy of one that is still on its way */
mtype = { unknown, yes, no };                   /* its answer */

mtype trip[2] = out, late[2] = none, answer[2] = unknown;
bool body[2];
byte saw_token[2], saw_holder[2], saw_floor[2], token[2], late_token[2];        /* what it read (R14, R20), and sends */
bool saw_gone[2];
byte statement[2];              /* a write in the user's database that is under way, by its token */

/* A revision never repeats: of each that somebody knows it counts only whether it still is the grant's (R13). */
bool saw[2], mine[2], late_one[2], idle_one;    /* the one read, the one of the own take, of a late call, of the collector */

bool open[2];                   /* in the store: sessions, */
bool there;                     /* the grant, */
byte high, holder = VACANT;     /* its token and holder, */
byte bottom;                    /* and the namespace's floor */
bool replaced, quarantine;      /* whether the store was wiped, and nothing is granted yet */
byte fence, seen;               /* in the user's database: the highest token raised, and the highest that has read or written */

#define me _pid
#define max(a, b) ((a) > (b) -> (a) : (b))
#define free(h) (h == VACANT || h == GONE || (h == 1 - me && saw_gone[me]))
#define at_work(i) (trip[i] == taking || trip[i] == won || trip[i] == fenced || trip[i] == works || trip[i] == releasing)
#define ignorant(i) (holder == i && open[i] && trip[i] != out && !at_work(i))

inline change(h) { holder = h; saw[0] = 0; saw[1] = 0; mine[0] = 0; mine[1] = 0; late_one[0] = 0; late_one[1] = 0; idle_one = 0 }
inline vanish() { there = 0; high = 0; change(VACANT) }
inline forget() { saw_token[me] = 0; saw_holder[me] = 0; saw_floor[me] = 0; saw_gone[me] = 0 }
inline rest() { trip[me] = idle; answer[me] = unknown; saw[me] = 0; mine[me] = 0; token[me] = 0; forget() }
inline copy(kind, one) { late[me] = kind; late_one[me] = one; late_token[me] = (kind == take -> token[me] : 0) }

inline land(i, kind, one, number) {     /* one copy of a call reaches the store */
  if
  :: kind == take ->
     if
#ifdef NO_R13
     :: there ->
#else
     :: one && !quarantine ->
#endif
        holds(TOKENS, number > fence); high = number; change(i); mine[i] = 1; holds(KNOWS, !ignorant(i))
     :: else
     fi
  :: kind == release ->
     if
#ifdef NO_R18_REVISION
     :: holder == i ->
#else
     :: one ->
#endif
#ifdef NO_R13_KEPT
        vanish()                /* a grant is cleared by deleting it */
#else
        change(VACANT)
#endif
     :: else
     fi
  fi
}

active [2] proctype Candidate() {
  do
  :: d_step { trip[me] == out && !open[me] && late[me] == none ->       /* a new life has a new id */
       open[me] = 1; rest(); if :: holder == me -> holder = GONE :: else fi }
  :: d_step { trip[me] == idle && high < TAKES -> trip[me] = looking;
#ifdef NO_R14
       saw_gone[me] = !open[1 - me];            /* a session that is not there yet is taken for dead */
#endif
#ifdef NO_R20_ORDER
       saw_floor[me] = bottom
#endif
     }
  :: d_step { trip[me] == looking && !quarantine -> trip[me] = judging;
       if :: !there -> there = 1; change(VACANT) :: else fi; saw[me] = 1; saw_token[me] = high; saw_holder[me] = holder }
  :: d_step { trip[me] == judging ->
#ifndef NO_R14
       saw_gone[me] = !open[1 - me];
#endif
#ifndef NO_R20_ORDER
       saw_floor[me] = bottom;
#endif
       if :: free(saw_holder[me]) && max(saw_token[me], saw_floor[me]) < TAKES ->
             trip[me] = taking; token[me] = max(saw_token[me], saw_floor[me]) + 1
          :: else -> rest() fi;
       forget() }
  /* an answer, or the loss of one, after which the same call is sent again (R16) */
  :: d_step { trip[me] == taking && answer[me] == yes -> copy(take, saw[me]); saw[me] = 0; answer[me] = unknown; trip[me] = won }
  :: d_step { trip[me] == taking && answer[me] == no -> copy(take, saw[me]); rest() }
  :: d_step { trip[me] == releasing && answer[me] != unknown -> copy(release, mine[me]); rest() }
  :: d_step { answer[me] != unknown -> answer[me] = unknown }
#ifdef NO_R16                   /* the caller gives up on an unknown outcome, and nobody settles it */
  :: d_step { trip[me] == taking -> copy(take, saw[me]); rest(); holds(KNOWS, !ignorant(me)) }
#endif
  :: d_step { trip[me] == won ->
       if
#ifndef NO_R21_RAISE
       :: fence > token[me] -> trip[me] = releasing     /* refused by a newer one */
       :: else -> fence = token[me]; trip[me] = fenced
#else
       :: trip[me] = fenced
#endif
       fi }
  :: d_step { trip[me] == won || trip[me] == fenced -> trip[me] = releasing }
  :: d_step { trip[me] == fenced ->                     /* the body starts, and reads its state */
       trip[me] = works; body[me] = 1; seen = max(seen, token[me]);
       holds(BODIES, !(body[0] && open[0] && body[1] && open[1])) }
  :: d_step { body[me] && trip[me] == works && statement[me] == 0 -> statement[me] = token[me] }
  :: d_step { trip[me] == works -> body[me] = 0; trip[me] = releasing }
#ifdef NO_R18_ENDED             /* released before the body has ended */
  :: d_step { trip[me] == works -> trip[me] = releasing }
  :: d_step { body[me] -> body[me] = 0 }
#endif
#ifdef NO_R18_RESUMED           /* the body goes on after a release was sent */
  :: d_step { trip[me] == releasing && answer[me] == unknown -> trip[me] = works; body[me] = 1;
       holds(BODIES, !(body[0] && open[0] && body[1] && open[1])) }
#endif
  /* the end of the process, wherever it stands; its calls stay under way */
  :: d_step { trip[me] != out ->
       if :: trip[me] == taking -> copy(take, saw[me]) :: trip[me] == releasing -> copy(release, mine[me]) :: else fi;
       rest(); trip[me] = out; body[me] = 0 }
  od
}
#undef me

#define i (_pid - 2)
active [2] proctype Call() {
  do
  :: d_step { trip[i] == taking && answer[i] == unknown ->
       land(i, take, saw[i], token[i]);
       if :: holder == i -> mine[i] = 1; answer[i] = yes :: else -> answer[i] = no fi }
  :: d_step { trip[i] == releasing && answer[i] == unknown -> land(i, release, mine[i], 0); answer[i] = yes }
  :: d_step { late[i] != none -> land(i, late[i], late_one[i], late_token[i]) }
  :: d_step { late[i] != none -> late[i] = none; late_one[i] = 0; late_token[i] = 0 }
  :: d_step { statement[i] != 0 ->      /* a write of a body, in a transaction that locks the fence's row */
#ifdef NO_R21_RAISE
       fence = max(fence, statement[i]);
#endif
       if
#ifndef NO_R21_CHECK
       :: fence != statement[i] -> skip /* refused */
#endif
       :: else -> holds(WRITES, statement[i] >= seen); seen = max(seen, statement[i])
       fi;
       statement[i] = 0 }
  od
}
#undef i

active proctype Others() {
  do
  :: d_step { open[0] -> open[0] = 0 }  /* a witness, or an observer who has waited long enough */
  :: d_step { open[1] -> open[1] = 0 }
  /* an idle record is collected: the floor first, then the record by its revision (R20) */
  :: d_step { !idle_one && there && holder == VACANT ->
#ifndef NO_R20
       bottom = max(bottom, high);
#endif
       idle_one = 1 }
  :: d_step { idle_one -> vanish() }       /* one that has changed is not deleted */
  /* the store is wiped, once: all sessions are lost; who opens it again has waited until all of them have met their
     deadlines, and has seen the fence (R24, R25) */
  :: d_step { !replaced -> replaced = 1; bottom = 0; vanish(); open[0] = 0; open[1] = 0;
#ifndef NO_R25
       quarantine = 1
#endif
     }
  :: d_step { quarantine && !at_work(0) && !at_work(1) -> quarantine = 0; bottom = max(bottom, fence) }
  od
}
