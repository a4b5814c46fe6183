
/*
 * A UNIX connection for one handover: made for it, and closed behind the answer, unless the backend keeps it.
 */


#include "ngx_http_fd_pass_module.h"


static void ngx_http_fd_pass_event_handler(ngx_event_t *ev);
static void ngx_http_fd_pass_send(ngx_http_fd_pass_ctx_t *ctx);
static void ngx_http_fd_pass_read_answer(ngx_http_fd_pass_ctx_t *ctx);
static void ngx_http_fd_pass_closed_early(ngx_http_fd_pass_ctx_t *ctx);


/* to the peer that was chosen; returns what ngx_event_connect_peer() does */

ngx_int_t
ngx_http_fd_pass_connect(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_int_t               rc;
    ngx_connection_t       *c, *uc;
    ngx_event_get_peer_pt   get;
    ngx_peer_connection_t  *pc;

    c = ctx->request->connection;
    c->log->action = "connecting to backend";

    pc = &ctx->request->upstream->peer;

    /* it would choose another one */

    get = pc->get;
    pc->get = ngx_event_get_peer;

    rc = ngx_event_connect_peer(pc);

    pc->get = get;

    if (rc != NGX_OK) {
        return rc;
    }

    uc = pc->connection;

    uc->data = ctx;
    uc->log = c->log;
    uc->read->log = c->log;
    uc->write->log = c->log;
    uc->read->handler = ngx_http_fd_pass_event_handler;
    uc->write->handler = ngx_http_fd_pass_event_handler;

    return NGX_OK;
}


void
ngx_http_fd_pass_start_sending(ngx_http_fd_pass_ctx_t *ctx)
{
    ctx->state = NGX_HTTP_FD_PASS_SENDING;
    ctx->descriptor_sent = 0;
    ctx->message->pos = ctx->message->start;

    ngx_http_fd_pass_send(ctx);
}


static void
ngx_http_fd_pass_event_handler(ngx_event_t *ev)
{
    ngx_connection_t        *c, *uc;
    ngx_http_request_t      *r;
    ngx_http_fd_pass_ctx_t  *ctx;

    uc = ev->data;
    ctx = uc->data;
    r = ctx->request;
    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    ngx_log_debug3(NGX_LOG_DEBUG_HTTP, c->log, 0,
                   "fd_pass event: write:%d timedout:%d state:%d",
                   ev->write, ev->timedout, (int) ctx->state);

    if (ctx->state == NGX_HTTP_FD_PASS_RELAYING) {
        ngx_http_fd_pass_relay_backend_event(ctx, ev);

    } else if (ev->timedout || uc->close) {

        if (ngx_http_fd_pass_give_up(ctx)) {
            ctx->gave_up = 1;
            ngx_http_fd_pass_settle(ctx, NGX_HTTP_FD_PASS_TAKEN);

        } else {
            ngx_http_fd_pass_settle(ctx, uc->close
                                         ? NGX_HTTP_FD_PASS_WORKER_ENDS
                                         : NGX_HTTP_FD_PASS_SILENT);
        }

    } else if (ev->write) {

        if (ctx->state == NGX_HTTP_FD_PASS_SENDING) {
            ngx_http_fd_pass_send(ctx);
        }

    } else {
        ngx_http_fd_pass_read_answer(ctx);
    }

    ngx_http_run_posted_requests(c);
}


static void
ngx_http_fd_pass_send(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_int_t          rc;
    ngx_connection_t  *c, *uc;

    c = ctx->request->connection;
    uc = ctx->request->upstream->peer.connection;

    c->log->action = "passing the client to backend";

    rc = ngx_http_fd_pass_send_message(ctx, uc);

    if (rc == NGX_AGAIN) {
        ngx_add_timer(uc->write, ctx->conf->send_timeout);

        if (ngx_handle_write_event(uc->write, 0) == NGX_OK) {
            return;
        }

        rc = NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_fd_pass_settle(ctx, NGX_HTTP_FD_PASS_CROWDED);
        return;
    }

    if (uc->write->timer_set) {
        ngx_del_timer(uc->write);
    }

    if (rc != NGX_OK || ngx_handle_write_event(uc->write, 0) != NGX_OK) {
        ngx_http_fd_pass_closed_early(ctx);
        return;
    }

    c->log->action = "waiting for the backend to take the client";

    ctx->state = NGX_HTTP_FD_PASS_AWAITING;
    ngx_add_timer(uc->read, ctx->conf->send_timeout);

    /* the answer, or that there will be none, may be here already */

    if (uc->read->ready) {
        ngx_post_event(uc->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(uc->read, 0) != NGX_OK) {
        ngx_http_fd_pass_settle(ctx, NGX_HTTP_FD_PASS_UNWATCHED);
    }
}


static void
ngx_http_fd_pass_read_answer(ngx_http_fd_pass_ctx_t *ctx)
{
    u_char             answer;
    ssize_t            n;
    ngx_connection_t  *uc;

    uc = ctx->request->upstream->peer.connection;

    n = uc->recv(uc, &answer, 1);

    if (n == NGX_AGAIN) {
        if (ngx_handle_read_event(uc->read, 0) != NGX_OK) {
            ngx_http_fd_pass_settle(ctx, NGX_HTTP_FD_PASS_UNWATCHED);
        }

        return;
    }

    if (n == NGX_ERROR || n == 0) {
        ngx_http_fd_pass_closed_early(ctx);
        return;
    }

    if (answer == NGX_HTTP_FD_PASS_ACK_REFUSED) {
        ngx_http_fd_pass_settle(ctx, NGX_HTTP_FD_PASS_REFUSED);
        return;
    }

    if (ctx->state == NGX_HTTP_FD_PASS_AWAITING) {

        if (answer == NGX_HTTP_FD_PASS_ACK_TAKEN) {
            ngx_http_fd_pass_settle(ctx, NGX_HTTP_FD_PASS_TAKEN);
            return;
        }

        if (answer == NGX_HTTP_FD_PASS_ACK_KEPT && ctx->keepalive) {
            ngx_http_fd_pass_keep(ctx);
            ngx_http_fd_pass_settle(ctx, NGX_HTTP_FD_PASS_TAKEN);
            return;
        }
    }

    ngx_log_error(NGX_LOG_ERR, uc->log, 0,
                  "the backend answered 0x%02xd instead of an acknowledgement",
                  (int) answer);

    ngx_http_fd_pass_settle(ctx, NGX_HTTP_FD_PASS_RUBBISH);
}


/* one that refuses need not have read everything, and its byte is still there */

static void
ngx_http_fd_pass_closed_early(ngx_http_fd_pass_ctx_t *ctx)
{
    u_char             answer;
    ngx_connection_t  *uc;

    uc = ctx->request->upstream->peer.connection;

    if (recv(uc->fd, &answer, 1, MSG_DONTWAIT) == 1
        && answer == NGX_HTTP_FD_PASS_ACK_REFUSED)
    {
        ngx_http_fd_pass_settle(ctx, NGX_HTTP_FD_PASS_REFUSED);
        return;
    }

    ngx_http_fd_pass_settle(ctx, NGX_HTTP_FD_PASS_CLOSED);
}


/*
 * After SHUT_RD the backend's acknowledgement fails, and it lets go of the client; one that was sent before is still there and
 * counts.  So there is never a moment in which both sides think that the client is theirs.
 */

ngx_uint_t
ngx_http_fd_pass_give_up(ngx_http_fd_pass_ctx_t *ctx)
{
    u_char             answer;
    ngx_connection_t  *uc;

    uc = ctx->request->upstream->peer.connection;

    if (shutdown(uc->fd, SHUT_RD) == -1) {
        ngx_log_error(NGX_LOG_ALERT, uc->log, ngx_socket_errno,
                      "shutdown(SHUT_RD) failed");
    }

    return recv(uc->fd, &answer, 1, MSG_DONTWAIT) == 1
           && (answer == NGX_HTTP_FD_PASS_ACK_TAKEN
               || (answer == NGX_HTTP_FD_PASS_ACK_KEPT && ctx->keepalive));
}
