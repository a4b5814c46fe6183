
/*
 * The handover itself, from one backend to the next until one has taken the client: which one is asked, and what follows from its
 * answer.  How it is asked, by a connection of its own or by a channel, is elsewhere.  Until a backend has answered that it has
 * taken the client, the client belongs to this process.
 */


#include "ngx_http_fd_pass_module.h"


static void ngx_http_fd_pass_ask(ngx_http_fd_pass_ctx_t *ctx);
static ngx_int_t ngx_http_fd_pass_choose_peer(ngx_http_fd_pass_ctx_t *ctx);
static void ngx_http_fd_pass_ask_by_connection(ngx_http_fd_pass_ctx_t *ctx,
    ngx_int_t rc);
static void ngx_http_fd_pass_next(ngx_http_fd_pass_ctx_t *ctx,
    ngx_uint_t state, ngx_int_t status, const char *reason);
static ngx_uint_t ngx_http_fd_pass_ask_again(ngx_http_fd_pass_ctx_t *ctx);
static void ngx_http_fd_pass_taken(ngx_http_fd_pass_ctx_t *ctx);
static ngx_int_t ngx_http_fd_pass_add_tried(ngx_http_fd_pass_ctx_t *ctx);


void
ngx_http_fd_pass_handover(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_connection_t  *c;

    c = ctx->request->connection;

    if (c->tcp_nopush == NGX_TCP_NOPUSH_SET) {

        /* what an earlier answer on this connection may have left */

        if (ngx_tcp_push(c->fd) == -1) {
            ngx_connection_error(c, ngx_socket_errno, ngx_tcp_push_n " failed");
        }

        c->tcp_nopush = NGX_TCP_NOPUSH_UNSET;
    }

    ctx->request->read_event_handler = ngx_http_block_reading;

    ngx_http_fd_pass_ask(ctx);
}


/* the next backend */

static void
ngx_http_fd_pass_ask(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_fd_pass_choose_peer(ctx);

    if (rc == NGX_BUSY) {
        ngx_http_fd_pass_decline(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                 "no live upstreams");
        return;
    }

    if (ngx_http_fd_pass_add_tried(ctx) != NGX_OK) {
        rc = NGX_ERROR;
    }

    if (rc == NGX_OK
        && ctx->keepalive
        && ngx_http_fd_pass_use_channel(ctx) == NGX_OK)
    {
        return;
    }

    ngx_http_fd_pass_ask_by_connection(ctx, rc);
}


static ngx_int_t
ngx_http_fd_pass_choose_peer(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_int_t               rc;
    ngx_peer_connection_t  *pc;

    pc = &ctx->request->upstream->peer;

    for ( ;; ) {
        rc = pc->get(pc, pc->data);

        if (rc != NGX_DONE) {
            return rc;
        }

        /* kept by "keepalive" after a request of another protocol: a new one is needed, and maybe the next is */

        ngx_http_fd_pass_close_peer(ctx, NGX_PEER_NEXT);
    }
}


/* rc: what came of choosing */

static void
ngx_http_fd_pass_ask_by_connection(ngx_http_fd_pass_ctx_t *ctx, ngx_int_t rc)
{
    if (rc == NGX_OK) {
        rc = ngx_http_fd_pass_connect(ctx);
    }

    if (rc == NGX_OK) {
        ngx_http_fd_pass_start_sending(ctx);
        return;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_fd_pass_next(ctx, NGX_PEER_FAILED,
                              NGX_HTTP_SERVICE_UNAVAILABLE,
                              "no backend accepts connections");
        return;
    }

    /* out of descriptors, connections or memory */

    ngx_http_fd_pass_close_peer(ctx, NGX_PEER_NEXT);
    ngx_http_fd_pass_decline(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                             "no connection to a backend could be made");
}


/* what came of asking one backend; the request may be gone afterwards */

void
ngx_http_fd_pass_settle(ngx_http_fd_pass_ctx_t *ctx,
    ngx_http_fd_pass_outcome_e outcome)
{
    switch (outcome) {

    case NGX_HTTP_FD_PASS_PENDING:
        return;

    case NGX_HTTP_FD_PASS_TAKEN:
        ngx_http_fd_pass_taken(ctx);
        return;

    case NGX_HTTP_FD_PASS_REFUSED:

        /* over a limit or about to leave: no failure of the backend, and it has closed its copy */

        ctx->descriptor_sent = 0;
        ctx->refused = 1;

        ngx_http_fd_pass_next(ctx, NGX_PEER_NEXT, NGX_HTTP_BAD_GATEWAY,
                              "the backend refused the client");
        return;

    case NGX_HTTP_FD_PASS_CLOSED:

        /* no failure either: a client can bring it about (too many fields, say), and could take all backends out for everybody */

        ngx_http_fd_pass_next(ctx, NGX_PEER_NEXT, NGX_HTTP_BAD_GATEWAY,
                              "the backend closed the connection early");
        return;

    case NGX_HTTP_FD_PASS_LOST:

        /* mostly for what others have sent, or because it was idle for long: this backend is still the right one */

        if (ctx->descriptor_sent) {
            ctx->copy_left = 1;
        }

        ngx_http_fd_pass_ask_by_connection(ctx, NGX_OK);
        return;

    case NGX_HTTP_FD_PASS_SILENT:
        ngx_http_fd_pass_next(ctx, NGX_PEER_FAILED, NGX_HTTP_GATEWAY_TIME_OUT,
                              "the backend was silent too long");
        return;

    case NGX_HTTP_FD_PASS_RUBBISH:
        ngx_http_fd_pass_next(ctx, NGX_PEER_FAILED, NGX_HTTP_BAD_GATEWAY,
                              "the backend speaks another protocol");
        return;

    case NGX_HTTP_FD_PASS_UNWATCHED:
        ngx_http_fd_pass_next(ctx, NGX_PEER_FAILED,
                              NGX_HTTP_INTERNAL_SERVER_ERROR,
                              "the backend cannot be waited for");
        return;

    case NGX_HTTP_FD_PASS_CROWDED:

        /* a limit of this process's user, whichever the backend */

        ngx_http_fd_pass_close_peer(ctx, NGX_PEER_NEXT);
        ngx_http_fd_pass_decline(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                 "too many descriptors are on their way: "
                                 "raise \"worker_rlimit_nofile\"");
        return;

    case NGX_HTTP_FD_PASS_WORKER_ENDS:
        ngx_http_fd_pass_close_peer(ctx, NGX_PEER_NEXT);
        ngx_http_finalize_request(ctx->request, NGX_HTTP_SERVICE_UNAVAILABLE);
        return;
    }
}


/* this backend did not take the client */

static void
ngx_http_fd_pass_next(ngx_http_fd_pass_ctx_t *ctx, ngx_uint_t state,
    ngx_int_t status, const char *reason)
{
    ngx_msec_t              timeout;
    ngx_peer_connection_t  *pc;

    ngx_http_fd_pass_close_peer(ctx, state);

    pc = &ctx->request->upstream->peer;
    timeout = ctx->conf->next_timeout;

    if ((pc->tries == 0 && !ngx_http_fd_pass_ask_again(ctx))
        || (timeout && ngx_current_msec - ctx->start >= timeout))
    {
        ngx_http_fd_pass_decline(ctx, status, reason);
        return;
    }

    ngx_log_error(NGX_LOG_WARN, ctx->request->connection->log, 0,
                  "fd_pass tries the next backend: %s", reason);

    ngx_http_fd_pass_ask(ctx);
}


/*
 * All were tried.  One that refused because it is about to leave may have a successor by now, on the same path: all are asked once
 * more, unless a number of tries is set.
 */

static ngx_uint_t
ngx_http_fd_pass_ask_again(ngx_http_fd_pass_ctx_t *ctx)
{
    if (!ctx->refused || ctx->asked_again || ctx->conf->next_tries) {
        return 0;
    }

    ctx->asked_again = 1;

    return ngx_http_fd_pass_init_peer(ctx) == NGX_OK;
}


static void
ngx_http_fd_pass_taken(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    ctx->handover = ctx->kind;
    ctx->elapsed = ngx_current_msec - ctx->start;

    r->header_in->pos = r->header_in->last;

    if (ctx->kind == NGX_HTTP_FD_PASS_PARTIAL) {
        ngx_http_fd_pass_start_relay(ctx);
        return;
    }

    ngx_http_fd_pass_finish(ctx);
}


/* the client is not this process's any more, and the request ends without an answer of its own */

void
ngx_http_fd_pass_finish(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_fd_pass_close_peer(ctx, 0);
    ngx_http_fd_pass_detach(ctx);

    /* no keep-alive, no lingering close: ngx_http_finalize_connection() */

    r->connection->read->eof = 1;
    r->keepalive = 0;
    r->read_event_handler = ngx_http_block_reading;

    ngx_http_finalize_request(r, NGX_DONE);
}


void
ngx_http_fd_pass_close_peer(ngx_http_fd_pass_ctx_t *ctx, ngx_uint_t state)
{
    ngx_peer_connection_t  *pc;

    ctx->state = NGX_HTTP_FD_PASS_IDLE;

    if (ctx->descriptor_sent && ctx->handover == NGX_HTTP_FD_PASS_NONE) {
        ctx->copy_left = 1;
    }

    pc = &ctx->request->upstream->peer;

    if (pc->free && pc->sockaddr) {
        pc->free(pc, pc->data, state);
        pc->sockaddr = NULL;
    }

    if (pc->connection) {
        ngx_close_connection(pc->connection);
        pc->connection = NULL;
    }
}


/* the request is freed or terminated, whatever state the handover is in */

void
ngx_http_fd_pass_cleanup(void *data)
{
    ngx_http_fd_pass_ctx_t  *ctx = data;

    ngx_uint_t  taken;

    if (ctx->state != NGX_HTTP_FD_PASS_IDLE
        && ctx->state != NGX_HTTP_FD_PASS_DONE)
    {
        taken = 0;

        if (ctx->channel) {
            taken = ngx_http_fd_pass_channel_give_up(ctx);

        } else if (ctx->state == NGX_HTTP_FD_PASS_AWAITING) {
            taken = ngx_http_fd_pass_give_up(ctx);
        }

        if (taken) {
            ctx->handover = ctx->kind;
            ctx->elapsed = ngx_current_msec - ctx->start;
        }

        ngx_http_fd_pass_close_peer(ctx, ctx->handover == NGX_HTTP_FD_PASS_NONE
                                         ? NGX_PEER_NEXT : 0);

        if (ctx->handover != NGX_HTTP_FD_PASS_NONE) {
            ngx_http_fd_pass_detach(ctx);
        }
    }

    if (ctx->copy_left && ctx->handover == NGX_HTTP_FD_PASS_NONE) {
        ngx_http_fd_pass_end_copy(ctx);
    }
}


static ngx_int_t
ngx_http_fd_pass_add_tried(ngx_http_fd_pass_ctx_t *ctx)
{
    u_char                 *p;
    ngx_str_t               tried;
    ngx_peer_connection_t  *pc;

    pc = &ctx->request->upstream->peer;

    if (pc->name == NULL) {
        return NGX_OK;
    }

    tried.len = ctx->tried.len + sizeof(", ") - 1 + pc->name->len;
    tried.data = ngx_pnalloc(ctx->request->pool, tried.len);
    if (tried.data == NULL) {
        return NGX_ERROR;
    }

    p = tried.data;

    if (ctx->tried.len) {
        p = ngx_cpymem(p, ctx->tried.data, ctx->tried.len);
        *p++ = ',';
        *p++ = ' ';
    }

    p = ngx_cpymem(p, pc->name->data, pc->name->len);

    ctx->tried.data = tried.data;
    ctx->tried.len = p - tried.data;

    return NGX_OK;
}
