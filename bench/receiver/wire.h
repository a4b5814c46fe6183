// What both C programs of the receiver's benchmark know of the wire: the answers, and how many go into one piece.
#ifndef FDPASS_BENCH_WIRE_H_
#define FDPASS_BENCH_WIRE_H_

enum { TAKEN = 0x06, TAKEN_KEPT = 0x16 };

/* Most answers in one send: what a receiver may batch. */
enum { MAX_ANSWERS = 64 };

/* More than a message of this benchmark has. */
enum { MAX_MESSAGE_BYTES = 8192 };

#endif
