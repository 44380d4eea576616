/* The streams that wait for their next chunk: a heap, the first that is due on top. */

#ifndef BENCH_DUE_H
#define BENCH_DUE_H

#include "wire.h"

#define MAX_STREAMS 65536
#define NOT_WAITING (-1)

struct waiting {
    int place; /* in the heap, or NOT_WAITING */
    uint64_t due_ns;
};

static struct waiting *heap[MAX_STREAMS];
static int heap_size;

static void put(int place, struct waiting *w)
{
    heap[place] = w;
    w->place = place;
}

static void sift(int place)
{
    struct waiting *w = heap[place];
    for (int parent; place > 0 && heap[parent = (place - 1) / 2]->due_ns > w->due_ns; place = parent)
        put(place, heap[parent]);
    for (int child; (child = 2 * place + 1) < heap_size; place = child) {
        if (child + 1 < heap_size && heap[child + 1]->due_ns < heap[child]->due_ns)
            child++;
        if (heap[child]->due_ns >= w->due_ns)
            break;
        put(place, heap[child]);
    }
    put(place, w);
}

static void due_add(struct waiting *w)
{
    if (w->place == NOT_WAITING) {
        if (heap_size == MAX_STREAMS) {
            fprintf(stderr, "stub: more than %d streams\n", MAX_STREAMS);
            exit(1);
        }
        put(heap_size++, w);
    }
    sift(w->place);
}

static void due_remove(struct waiting *w)
{
    if (w->place == NOT_WAITING)
        return;
    int place = w->place;
    w->place = NOT_WAITING;
    if (place != --heap_size) {
        put(place, heap[heap_size]);
        sift(place);
    }
}

#endif
