
/*
 * The answers on a channel: which message each of them is for, and what becomes of those that get none.  What an answer means for a
 * request is decided elsewhere.
 *
 * An outcome is noted first and told later, by the channel's own event and nobody else's: whoever finds out about it may be in
 * the middle of another request.
 */


#include "ngx_http_fd_pass_module.h"


static void ngx_http_fd_pass_channel_note(ngx_http_fd_pass_channel_t *ch,
    ngx_http_fd_pass_outcome_e outcome);


/* to the message that waits longest */

void
ngx_http_fd_pass_channel_answer(ngx_http_fd_pass_channel_t *ch, u_char answer)
{
    ngx_uint_t               whole;
    ngx_http_fd_pass_ctx_t  *ctx;

    if (ngx_queue_empty(&ch->waiting)) {
        ngx_log_error(NGX_LOG_ERR, ch->connection->log, 0,
                      "a backend answered 0x%02xd where nothing was asked",
                      (int) answer);
        ch->broken = 1;
        return;
    }

    ctx = ngx_http_fd_pass_placed(ngx_queue_head(&ch->waiting));

    whole = ctx->state == NGX_HTTP_FD_PASS_AWAITING;

    if (answer == NGX_HTTP_FD_PASS_ACK_REFUSED) {

        /* of a part: what the backend makes of the rest is not known */

        ch->broken |= !whole;

        ngx_http_fd_pass_channel_note(ch, NGX_HTTP_FD_PASS_REFUSED);
        return;
    }

    if (whole && answer == NGX_HTTP_FD_PASS_ACK_KEPT) {
        ngx_http_fd_pass_channel_note(ch, NGX_HTTP_FD_PASS_TAKEN);
        return;
    }

    if (whole && answer == NGX_HTTP_FD_PASS_ACK_TAKEN) {

        /* the backend closes it behind this answer */

        ngx_http_fd_pass_retire_channel(ch);
        ngx_http_fd_pass_channel_note(ch, NGX_HTTP_FD_PASS_TAKEN);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, 0,
                  "the backend answered 0x%02xd instead of an acknowledgement",
                  (int) answer);

    ch->broken = 1;
    ngx_http_fd_pass_channel_note(ch, NGX_HTTP_FD_PASS_RUBBISH);
}


/* for the message that waits longest */

static void
ngx_http_fd_pass_channel_note(ngx_http_fd_pass_channel_t *ch,
    ngx_http_fd_pass_outcome_e outcome)
{
    ngx_queue_t  *q;

    q = ngx_queue_head(&ch->waiting);

    ngx_queue_remove(q);
    ngx_queue_insert_tail(&ch->answered, q);

    ngx_http_fd_pass_placed(q)->outcome = outcome;
}


/*
 * As ngx_http_fd_pass_give_up(), for all: after SHUT_RD no more answers can come, and those that are here count.  The messages
 * without one are the sender's again.
 */

void
ngx_http_fd_pass_channel_end(ngx_http_fd_pass_channel_t *ch,
    ngx_uint_t timedout)
{
    ssize_t                  i, n;
    ngx_uint_t               silent;
    ngx_connection_t        *uc;
    ngx_http_fd_pass_ctx_t  *ctx;
    u_char                   answers[64];

    if (ch->ended) {
        return;
    }

    ch->ended = 1;
    ngx_http_fd_pass_retire_channel(ch);

    uc = ch->connection;

    if (shutdown(uc->fd, SHUT_RD) == -1) {
        ngx_log_error(NGX_LOG_ALERT, uc->log, ngx_socket_errno,
                      "shutdown(SHUT_RD) failed");
    }

    while (!ngx_queue_empty(&ch->waiting)) {
        n = recv(uc->fd, answers, sizeof(answers), MSG_DONTWAIT);

        if (n <= 0) {
            break;
        }

        for (i = 0; i < n; i++) {
            ngx_http_fd_pass_channel_answer(ch, answers[i]);
        }
    }

    while (!ngx_queue_empty(&ch->waiting)) {
        ctx = ngx_http_fd_pass_placed(ngx_queue_head(&ch->waiting));

        silent = timedout && ngx_http_fd_pass_is_due(ctx->deadline);

        ngx_http_fd_pass_channel_note(ch, silent ? NGX_HTTP_FD_PASS_SILENT
                                                 : NGX_HTTP_FD_PASS_LOST);
    }
}


/* tells the requests their outcomes: for the channel's own event only */

void
ngx_http_fd_pass_channel_tell(ngx_http_fd_pass_channel_t *ch)
{
    ngx_queue_t                 *q;
    ngx_connection_t            *c, *uc;
    ngx_http_request_t          *r;
    ngx_http_fd_pass_ctx_t      *ctx;
    ngx_http_fd_pass_outcome_e   outcome;

    uc = ch->connection;

    /* each may end others that wait here, and send another message on this channel */

    while (!ngx_queue_empty(&ch->answered)) {
        q = ngx_queue_head(&ch->answered);
        ngx_queue_remove(q);

        ctx = ngx_http_fd_pass_placed(q);
        ctx->channel = NULL;
        ctx->state = NGX_HTTP_FD_PASS_IDLE;
        outcome = ctx->outcome;

        if (uc->close && outcome == NGX_HTTP_FD_PASS_LOST) {
            outcome = NGX_HTTP_FD_PASS_WORKER_ENDS;
        }

        r = ctx->request;
        c = r->connection;

        ngx_http_set_log_request(c->log, r);

        ngx_http_fd_pass_settle(ctx, outcome);

        ngx_http_run_posted_requests(c);
    }
}
