/* Time keeps bodies apart: sessions, beats, an observer, a witness and a grant, with two candidates.
 *
 * One step of one process is one `d_step`; which process steps next is free, so every call is answered at once, late or
 * never, every process pauses wherever it likes, and the two candidates' calls pass each other. Time is the tick: each clock
 * moves on by one, the observer's by one more once in a watch. Nothing is counted that cannot be compared: a deadline
 * is the age of a sending, and a beat's number is whether the one that the observer watched still stands.
 *
 * Rules are PROTOCOL.md's; -D NO_... takes one out. -D CHECK=n looks at one property alone.
 */
#define TTL 6                   /* ticks; the observer's clock is a fifth too fast, as the kill comes a sixth early */
#ifdef NO_R4_EARLY
#define KILL TTL                /* the kernel's timer stands at 100 % */
#else
#define KILL 5                  /* at 85 % */
#endif
#define CANCEL 3                /* at 60 %: from here on no body starts */

#ifndef CHECK
#define CHECK 0
#endif
#define holds(property, sentence) assert((CHECK != 0 && CHECK != property) || (sentence))
#define BODIES 1                /* never two bodies */
#define SESSIONS 2              /* a dead session never lives again */

#define VACANT 2                /* the grant's holder is a candidate's present session, nobody, or a session long gone */
#define GONE 3

mtype = { out, opening, standby, body };        /* a candidate: no process, no answer yet, no term, its body runs */
mtype = { none, opens, beats, answered };       /* its call for its session */
mtype = { take, won, release };                 /* its call for the grant */
mtype = { idle, asked, told, watching, closing }; /* the observer */

mtype life[2] = out, call[2] = none, write[2] = none;
bool orphan[2];                 /* the keeper is dead, the kernel has not yet ended the worker and its body */
byte age[2];                    /* of the sending of the last answered beat; KILL stands for all above (R4) */
byte sent[2];                   /* age of the sending of the call under way */
bool fresh[2];                  /* the take's revision still is the grant's (R13) */

bool open[2], dead[2];          /* in the store: the session, and whether it has its tombstone */
byte holder = VACANT;           /* in the store: the grant */

mtype watch = idle;             /* the observer, which watches one session at a time, and its call */
bit whom;                       /* that session */
bool same;                      /* its beat still is the one that was watched (R7) */
byte waited;                    /* how long it has been watched, by the observer's clock (R8) */
bool gained;                    /* that clock has run ahead in this watch */

#define runs(i) (life[i] == body || orphan[i])
#define free (holder == VACANT || holder == GONE || (open[holder] == 0 && dead[holder]))

inline forget() { watch = idle; whom = 0; same = 0; waited = 0; gained = 0 }
inline answer(i) { if :: life[i] != out -> call[i] = answered :: else -> call[i] = none fi }
inline close(i) { open[i] = 0; dead[i] = 1 }
inline grant_to(h) { holder = h; fresh[0] = 0; fresh[1] = 0 }
inline end(i) {                 /* nobody hears the answers any more */
  life[i] = out; age[i] = 0; sent[i] = 0;
  if :: write[i] == won -> write[i] = none :: else fi;
  if :: call[i] == answered -> call[i] = none :: else fi
}

active [2] proctype Candidate() {
  do
  :: d_step { life[_pid] == out && !orphan[_pid] && !open[_pid] && call[_pid] == none && write[_pid] == none ->
       life[_pid] = opening; call[_pid] = opens; sent[_pid] = 0;
#ifndef NO_R1                   /* a new life has a new id: whoever names the old one names a dead one */
       dead[_pid] = 0;
       if :: holder == _pid -> holder = GONE :: else fi;
       if :: whom == _pid -> same = 0 :: else fi
#endif
     }
  :: d_step { (life[_pid] == standby || life[_pid] == body) && call[_pid] == none && age[_pid] < KILL ->
       call[_pid] = beats; sent[_pid] = 0 }
  :: d_step { life[_pid] != out && call[_pid] == answered ->
       if :: life[_pid] == opening -> life[_pid] = standby; age[_pid] = KILL :: else fi;
#ifdef NO_R4
       sent[_pid] = 0;          /* the deadline from the answer */
#endif
       if :: sent[_pid] < age[_pid] -> age[_pid] = sent[_pid] :: else fi;
       call[_pid] = none; sent[_pid] = 0 }
#ifdef NO_R3                    /* a retry has no number of its own: an earlier sending's answer is taken for its */
  :: d_step { life[_pid] != out && sent[_pid] > 0 && (call[_pid] == beats || call[_pid] == answered) -> sent[_pid] = 0 }
#endif
  /* the grant: read it and then its holder's session, write on that revision */
  :: d_step { life[_pid] == standby && write[_pid] == none && free -> write[_pid] = take; fresh[_pid] = 1 }
  :: d_step { life[_pid] == standby && write[_pid] == won ->
       write[_pid] = none;
       if
#ifndef NO_R15
       :: age[_pid] >= CANCEL -> write[_pid] = release
#endif
       :: else -> life[_pid] = body; holds(BODIES, !(runs(0) && runs(1)))
       fi }
  :: d_step { life[_pid] == body && write[_pid] == none -> life[_pid] = standby; write[_pid] = release }
  /* the end of a process, wherever it stands, by itself or by SIGKILL; then the kernel ends the worker */
  :: d_step { life[_pid] != out -> orphan[_pid] = (life[_pid] == body); end(_pid) }
  :: d_step { orphan[_pid] -> orphan[_pid] = 0 }
  od
}

#define i (_pid - 2)
active [2] proctype Call() {    /* what is under way to the store, and back, arrives late or never */
  do
  :: d_step { call[i] == opens -> open[i] = 1; answer(i); holds(SESSIONS, !dead[i]) }
  :: d_step { call[i] == beats ->
       answer(i);
       if
#ifdef NO_R3_OPEN
       :: !open[i] -> open[i] = 1; holds(SESSIONS, !dead[i])
#else
       :: !open[i] -> call[i] = none
#endif
       :: else -> if :: whom == i -> same = 0 :: else fi
       fi }
  :: d_step { call[i] != none -> call[i] = none; sent[i] = 0; if :: life[i] == opening -> end(i) :: else fi }
  :: d_step { write[i] == take ->
       write[i] = none;
       if
#ifndef NO_R13
       :: !fresh[i] -> skip
#endif
       :: else -> grant_to(i); if :: life[i] != out -> write[i] = won :: else fi
       fi;
       fresh[i] = 0 }
  :: d_step { write[i] == release ->
       write[i] = none; if :: holder == i -> grant_to(VACANT) :: else fi }
  od
}
#undef i

active proctype Observer() {
  do
  :: d_step { watch == idle -> watch = asked; whom = 0 }
  :: d_step { watch == idle -> watch = asked; whom = 1 }
  :: d_step { watch == asked -> if :: open[whom] -> watch = told; same = 1 :: else -> forget() fi }  /* in the store */
  :: d_step { watch == told -> watch = watching }
  :: d_step { watch == watching && waited >= TTL -> watch = closing; waited = 0; gained = 0 }
  :: d_step { watch == closing ->                                                                    /* in the store */
       if
#ifdef NO_R7
       :: open[whom] -> close(whom)
#else
       :: open[whom] && same -> close(whom)
#endif
       :: else
       fi; forget() }
  :: d_step { watch != idle -> forget() }
  od
}

#ifdef NO_R9
#define proven(i) (life[i] == out)
#else
#define proven(i) (life[i] == out && !orphan[i])
#endif

active proctype Witness() {     /* anyone of that machine, or the keeper's own close after its worker's end */
  do
  :: d_step { open[0] && proven(0) -> close(0) }
  :: d_step { open[1] && proven(1) -> close(1) }
  od
}

#ifdef NO_R8
#define counts (watch == asked || watch == told || watch == watching)
#else
#define counts (watch == watching)
#endif

#ifdef EQUAL_CLOCKS
#define may_gain false
#elif defined(NO_R29)
#define may_gain true           /* rates that differ by any amount */
#else
#define may_gain (!gained)
#endif

inline older(i) {
  if :: age[i] < KILL && (life[i] == standby || life[i] == body) -> age[i]++ :: else fi;
  if :: sent[i] < KILL && call[i] != none && life[i] != out -> sent[i]++ :: else fi;
#ifndef NO_R6
  if :: age[i] == KILL && life[i] == body -> end(i) :: else fi   /* the kernel's timer, whoever is stopped */
#endif
}

active proctype Clock() {       /* what the kernel has begun it ends within the tick */
  do
  :: d_step { !orphan[0] && !orphan[1] ->
       older(0); older(1);
       if :: counts && waited < TTL -> waited++ :: else fi }
  :: d_step { counts && may_gain && waited < TTL -> gained = 1; waited++ }
  od
}
