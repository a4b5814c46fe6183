
/*
 * A channel: a UNIX connection that a backend has kept, and the handovers that wait on it for their answers, which come in the
 * order of the messages.  Its life and its events: what an answer does is elsewhere.
 */


#include "ngx_http_fd_pass_module.h"


#define NGX_HTTP_FD_PASS_CHANNEL_POOL  256


static void ngx_http_fd_pass_channel_handler(ngx_event_t *ev);
static void ngx_http_fd_pass_channel_resume(ngx_http_fd_pass_channel_t *ch);
static void ngx_http_fd_pass_channel_read(ngx_http_fd_pass_channel_t *ch);
static void ngx_http_fd_pass_channel_go_on(ngx_http_fd_pass_channel_t *ch);
static void ngx_http_fd_pass_channel_set_timer(ngx_http_fd_pass_channel_t *ch);
static ngx_int_t ngx_http_fd_pass_channel_watch(ngx_http_fd_pass_channel_t *ch);
static void ngx_http_fd_pass_channel_close(ngx_http_fd_pass_channel_t *ch);


/* makes a channel of a handover's own connection, if there is room for one more: if not, it is closed as any other */

void
ngx_http_fd_pass_keep(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_pool_t                  *pool;
    ngx_connection_t            *uc;
    ngx_peer_connection_t       *pc;
    ngx_http_fd_pass_channel_t  *ch;

    if (ngx_exiting || ctx->conf->keepalive_handovers == 1) {
        return;
    }

    pool = ngx_create_pool(NGX_HTTP_FD_PASS_CHANNEL_POOL, ngx_cycle->log);
    if (pool == NULL) {
        return;
    }

    ch = ngx_pcalloc(pool, sizeof(ngx_http_fd_pass_channel_t));

    if (ch == NULL || ngx_http_fd_pass_add_channel(ctx, ch) != NGX_OK) {
        ngx_destroy_pool(pool);
        return;
    }

    pc = &ctx->request->upstream->peer;
    uc = pc->connection;
    pc->connection = NULL;

    ngx_queue_init(&ch->waiting);
    ngx_queue_init(&ch->answered);

    ch->connection = uc;
    ch->handovers = 1;

    uc->pool = pool;
    uc->data = ch;
    uc->log = ngx_cycle->log;
    uc->read->log = ngx_cycle->log;
    uc->write->log = ngx_cycle->log;
    uc->read->handler = ngx_http_fd_pass_channel_handler;
    uc->write->handler = ngx_http_fd_pass_channel_handler;

    /* a backend may close it whenever it likes */
    uc->log_error = NGX_ERROR_INFO;

    if (ngx_http_fd_pass_channel_watch(ch) != NGX_OK) {
        ngx_http_fd_pass_channel_close(ch);
        return;
    }

    /* it may have been closed in the same moment */

    if (uc->read->ready) {
        ngx_post_event(uc->read, &ngx_posted_events);
    }

    ngx_http_fd_pass_channel_go_on(ch);
}


/*
 * NGX_OK: the handover has a place on the channel, or is settled already; NGX_DECLINED: nothing of it was sent, and it has to go
 * another way.
 */

ngx_int_t
ngx_http_fd_pass_channel_send(ngx_http_fd_pass_channel_t *ch,
    ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_int_t          rc;
    ngx_connection_t  *c, *uc;

    if (ch->blocked) {
        return NGX_DECLINED;
    }

    c = ctx->request->connection;
    uc = ch->connection;

    ctx->descriptor_sent = 0;
    ctx->message->pos = ctx->message->start;

    rc = ngx_http_fd_pass_send_message(ctx, uc);

    if (rc == NGX_DECLINED) {
        ngx_http_fd_pass_settle(ctx, NGX_HTTP_FD_PASS_CROWDED);
        return NGX_OK;
    }

    if (ctx->descriptor_sent) {
        c->log->action = "waiting for the backend to take the client";

        ctx->channel = ch;
        ctx->outcome = NGX_HTTP_FD_PASS_PENDING;
        ctx->deadline = ngx_current_msec + ch->backend->send_timeout;
        ctx->state = rc == NGX_OK ? NGX_HTTP_FD_PASS_AWAITING
                                  : NGX_HTTP_FD_PASS_SENDING;

        ngx_queue_insert_tail(&ch->waiting, &ctx->place);

        if (++ch->handovers == ch->backend->max_handovers) {
            ngx_http_fd_pass_retire_channel(ch);
        }

        uc->idle = 0;
        ngx_reusable_connection(uc, 0);
        ngx_http_fd_pass_channel_set_timer(ch);
    }

    if (rc == NGX_AGAIN) {
        ch->blocked = 1;

        if (ngx_http_fd_pass_channel_watch(ch) != NGX_OK) {
            rc = NGX_ERROR;
        }
    }

    if (rc == NGX_ERROR) {
        ngx_http_fd_pass_channel_end(ch, 0);
        ngx_post_event(uc->read, &ngx_posted_events);

    } else if (uc->read->ready) {
        ngx_post_event(uc->read, &ngx_posted_events);
    }

    return ctx->descriptor_sent ? NGX_OK : NGX_DECLINED;
}


/*
 * The request leaves its place for good; returns whether its client was taken.  If it had no answer yet this ends the channel:
 * only then the backend cannot take it any more.
 */

ngx_uint_t
ngx_http_fd_pass_channel_give_up(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_http_fd_pass_channel_t  *ch;

    ch = ctx->channel;

    if (ctx->outcome == NGX_HTTP_FD_PASS_PENDING) {
        ngx_http_fd_pass_channel_end(ch, 0);
    }

    ngx_queue_remove(&ctx->place);
    ctx->channel = NULL;

    if (ctx->outcome == NGX_HTTP_FD_PASS_REFUSED) {
        ctx->descriptor_sent = 0;
    }

    /* the others that this concerns */

    ngx_post_event(ch->connection->read, &ngx_posted_events);

    return ctx->outcome == NGX_HTTP_FD_PASS_TAKEN;
}


static void
ngx_http_fd_pass_channel_handler(ngx_event_t *ev)
{
    ngx_queue_t                 *q;
    ngx_uint_t                   idle;
    ngx_connection_t            *uc;
    ngx_http_fd_pass_channel_t  *ch;

    uc = ev->data;
    ch = uc->data;

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, uc->log, 0,
                   "fd_pass channel: write:%d timedout:%d close:%d",
                   ev->write, ev->timedout, uc->close);

    idle = ngx_queue_empty(&ch->waiting) && ngx_queue_empty(&ch->answered);

    if (uc->close) {

        /* the worker is about to end, or another connection is needed more */

        if (idle) {
            ngx_http_fd_pass_channel_close(ch);
            return;
        }

        ngx_http_fd_pass_channel_end(ch, 0);

    } else if (ev->timedout) {
        ev->timedout = 0;

        if (idle) {
            if (ngx_http_fd_pass_is_due(ch->idle_since
                                        + ch->backend->idle_timeout))
            {
                ngx_http_fd_pass_channel_close(ch);
                return;
            }

        } else if (!ngx_queue_empty(&ch->waiting)) {
            q = ngx_queue_head(&ch->waiting);

            if (ngx_http_fd_pass_is_due(ngx_http_fd_pass_placed(q)->deadline)) {
                ngx_http_fd_pass_channel_end(ch, 1);
            }
        }

    } else if (ev->write) {
        ngx_http_fd_pass_channel_resume(ch);

    } else {
        ngx_http_fd_pass_channel_read(ch);
    }

    ngx_http_fd_pass_channel_go_on(ch);
}


/* the socket takes more */

static void
ngx_http_fd_pass_channel_resume(ngx_http_fd_pass_channel_t *ch)
{
    ngx_int_t                rc;
    ngx_http_fd_pass_ctx_t  *ctx;

    if (!ch->blocked || ch->ended) {
        return;
    }

    ch->blocked = 0;

    if (!ngx_queue_empty(&ch->waiting)) {
        ctx = ngx_http_fd_pass_placed(ngx_queue_last(&ch->waiting));

        if (ctx->state == NGX_HTTP_FD_PASS_SENDING) {

            rc = ngx_http_fd_pass_send_message(ctx, ch->connection);

            if (rc == NGX_ERROR) {
                ngx_http_fd_pass_channel_end(ch, 0);
                return;
            }

            if (rc == NGX_OK) {
                ctx->state = NGX_HTTP_FD_PASS_AWAITING;

            } else {
                ch->blocked = 1;
            }

            ctx->deadline = ngx_current_msec + ch->backend->send_timeout;
        }
    }

    if (ngx_http_fd_pass_channel_watch(ch) != NGX_OK) {
        ngx_http_fd_pass_channel_end(ch, 0);
    }
}


static void
ngx_http_fd_pass_channel_read(ngx_http_fd_pass_channel_t *ch)
{
    ssize_t            i, n;
    ngx_connection_t  *uc;
    u_char             answers[64];

    if (ch->ended) {
        return;
    }

    uc = ch->connection;

    do {
        n = uc->recv(uc, answers, sizeof(answers));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            ngx_http_fd_pass_channel_end(ch, 0);
            return;
        }

        for (i = 0; i < n; i++) {
            ngx_http_fd_pass_channel_answer(ch, answers[i]);
        }

    } while (uc->read->ready);

    if (ch->broken || ngx_handle_read_event(uc->read, 0) != NGX_OK) {
        ngx_http_fd_pass_channel_end(ch, 0);
    }
}


/* behind each event: tells what came of it, and waits for the next one; the channel may be gone afterwards */

static void
ngx_http_fd_pass_channel_go_on(ngx_http_fd_pass_channel_t *ch)
{
    ngx_connection_t  *uc;

    ngx_http_fd_pass_channel_tell(ch);

    if (!ngx_queue_empty(&ch->waiting)) {
        ngx_http_fd_pass_channel_set_timer(ch);
        return;
    }

    if (ch->retired || ngx_exiting) {
        ngx_http_fd_pass_channel_close(ch);
        return;
    }

    uc = ch->connection;

    if (!uc->idle) {
        uc->idle = 1;
        ngx_reusable_connection(uc, 1);
        ch->idle_since = ngx_current_msec;
    }

    ngx_http_fd_pass_channel_set_timer(ch);
}


/* one timer for all: they wait equally long, so the first is the first to be due */

static void
ngx_http_fd_pass_channel_set_timer(ngx_http_fd_pass_channel_t *ch)
{
    ngx_msec_t       deadline;
    ngx_event_t     *rev;
    ngx_msec_int_t   left;

    if (ngx_queue_empty(&ch->waiting)) {
        deadline = ch->idle_since + ch->backend->idle_timeout;

    } else {
        deadline = ngx_http_fd_pass_placed(ngx_queue_head(&ch->waiting))
                   ->deadline;
    }

    rev = ch->connection->read;

    if (rev->timer_set
        && (ngx_msec_int_t) (rev->timer.key - deadline) <= 0)
    {
        /* it is set again when it fires: cheaper than with each message */
        return;
    }

    left = (ngx_msec_int_t) (deadline - ngx_current_msec);

    ngx_add_timer(rev, left > 0 ? (ngx_msec_t) left : 1);
}


/* for reading always, for writing only if something waits to be sent: epoll would report each message that the backend has read */

static ngx_int_t
ngx_http_fd_pass_channel_watch(ngx_http_fd_pass_channel_t *ch)
{
    ngx_event_t  *wev;

    wev = ch->connection->write;

    if (!ch->blocked
        && wev->active
        && (ngx_event_flags & NGX_USE_EPOLL_EVENT))
    {
        return ngx_del_event(wev, NGX_WRITE_EVENT, NGX_CLEAR_EVENT);
    }

    return ngx_handle_write_event(wev, 0);
}


static void
ngx_http_fd_pass_channel_close(ngx_http_fd_pass_channel_t *ch)
{
    ngx_pool_t        *pool;
    ngx_connection_t  *uc;

    uc = ch->connection;
    pool = uc->pool;

    ngx_http_fd_pass_remove_channel(ch);
    ngx_close_connection(uc);
    ngx_destroy_pool(pool);
}
