
/*
 * The handover itself: one message with the descriptor beside it, and the backend's acknowledgement.  Until that is here the
 * client belongs to this process, and the next backend can be tried.
 */


#include "ngx_http_fd_pass_module.h"


#define NGX_HTTP_FD_PASS_TAKEN    0x06
#define NGX_HTTP_FD_PASS_REFUSED  0x15


static void ngx_http_fd_pass_connect(ngx_http_fd_pass_ctx_t *ctx);
static void ngx_http_fd_pass_next(ngx_http_fd_pass_ctx_t *ctx,
    ngx_uint_t state, ngx_int_t status, const char *reason);
static ngx_uint_t ngx_http_fd_pass_ask_again(ngx_http_fd_pass_ctx_t *ctx);
static void ngx_http_fd_pass_event_handler(ngx_event_t *ev);
static void ngx_http_fd_pass_send(ngx_http_fd_pass_ctx_t *ctx);
static ssize_t ngx_http_fd_pass_send_descriptor(ngx_connection_t *uc,
    ngx_buf_t *message, ngx_socket_t fd);
static void ngx_http_fd_pass_read_answer(ngx_http_fd_pass_ctx_t *ctx);
static void ngx_http_fd_pass_refused(ngx_http_fd_pass_ctx_t *ctx);
static void ngx_http_fd_pass_closed_early(ngx_http_fd_pass_ctx_t *ctx);
static ngx_uint_t ngx_http_fd_pass_give_up(ngx_connection_t *uc);
static void ngx_http_fd_pass_taken(ngx_http_fd_pass_ctx_t *ctx);
static ngx_int_t ngx_http_fd_pass_add_tried(ngx_http_fd_pass_ctx_t *ctx);
static void ngx_http_fd_pass_detach(ngx_http_fd_pass_ctx_t *ctx);


/* stands in for clients that are handed over; one for each worker, never connected */
static ngx_socket_t  ngx_http_fd_pass_nobody = (ngx_socket_t) -1;


ngx_int_t
ngx_http_fd_pass_init_process(ngx_cycle_t *cycle)
{
    ngx_http_fd_pass_nobody = socket(AF_UNIX, SOCK_STREAM|SOCK_CLOEXEC, 0);

    if (ngx_http_fd_pass_nobody == (ngx_socket_t) -1) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_socket_errno,
                      "fd_pass: " ngx_socket_n " failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


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

    ngx_http_fd_pass_connect(ctx);
}


static void
ngx_http_fd_pass_connect(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_int_t               rc;
    ngx_connection_t       *c, *uc;
    ngx_peer_connection_t  *pc;

    c = ctx->request->connection;
    c->log->action = "connecting to backend";

    pc = &ctx->request->upstream->peer;

    ctx->descriptor_sent = 0;

    do {
        rc = ngx_event_connect_peer(pc);

        if (rc == NGX_DONE) {

            /* kept by "keepalive" after a request of another protocol: a new one is needed, and maybe the next is */

            ngx_http_fd_pass_close_peer(ctx, NGX_PEER_NEXT);
        }

    } while (rc == NGX_DONE);

    if (rc == NGX_BUSY) {
        ngx_http_fd_pass_decline(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                 "no live upstreams");
        return;
    }

    if (ngx_http_fd_pass_add_tried(ctx) != NGX_OK) {
        rc = NGX_ERROR;
    }

    if (rc == NGX_DECLINED) {
        ngx_http_fd_pass_next(ctx, NGX_PEER_FAILED,
                              NGX_HTTP_SERVICE_UNAVAILABLE,
                              "no backend accepts connections");
        return;
    }

    if (rc != NGX_OK) {

        /* out of descriptors, connections or memory */

        ngx_http_fd_pass_close_peer(ctx, NGX_PEER_NEXT);
        ngx_http_fd_pass_decline(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR,
                                 "no connection to a backend could be made");
        return;
    }

    uc = pc->connection;

    uc->data = ctx;
    uc->log = c->log;
    uc->read->log = c->log;
    uc->write->log = c->log;
    uc->read->handler = ngx_http_fd_pass_event_handler;
    uc->write->handler = ngx_http_fd_pass_event_handler;

    ctx->state = NGX_HTTP_FD_PASS_SENDING;
    ctx->message->pos = ctx->message->start;

    ngx_http_fd_pass_send(ctx);
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

    ngx_http_fd_pass_connect(ctx);
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


/* events of the connection to the backend */

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

        if (ngx_http_fd_pass_give_up(uc)) {
            ctx->gave_up = 1;
            ngx_http_fd_pass_taken(ctx);

        } else if (uc->close) {
            ngx_http_fd_pass_close_peer(ctx, NGX_PEER_NEXT);
            ngx_http_finalize_request(r, NGX_HTTP_SERVICE_UNAVAILABLE);

        } else {
            ngx_http_fd_pass_next(ctx, NGX_PEER_FAILED,
                                  NGX_HTTP_GATEWAY_TIME_OUT,
                                  "the backend was silent too long");
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
    ssize_t            n;
    ngx_buf_t         *message;
    ngx_connection_t  *c, *uc;

    c = ctx->request->connection;
    uc = ctx->request->upstream->peer.connection;
    message = ctx->message;

    c->log->action = "passing the client to backend";

    while (message->pos < message->last) {

        if (ctx->descriptor_sent) {
            n = uc->send(uc, message->pos, message->last - message->pos);

        } else {
            n = ngx_http_fd_pass_send_descriptor(uc, message, c->fd);
        }

        if (n == NGX_AGAIN) {
            ngx_add_timer(uc->write, ctx->conf->send_timeout);

            if (ngx_handle_write_event(uc->write, 0) != NGX_OK) {
                n = NGX_ERROR;

            } else {
                return;
            }
        }

        if (n == NGX_DECLINED) {

            /* a limit of this process's user, whichever the backend */

            ngx_http_fd_pass_close_peer(ctx, NGX_PEER_NEXT);
            ngx_http_fd_pass_decline(ctx, NGX_HTTP_SERVICE_UNAVAILABLE,
                                     "too many descriptors are on their way: "
                                     "raise \"worker_rlimit_nofile\"");
            return;
        }

        if (n == NGX_ERROR) {
            ngx_http_fd_pass_closed_early(ctx);
            return;
        }

        ctx->descriptor_sent = 1;
        message->pos += n;
    }

    if (uc->write->timer_set) {
        ngx_del_timer(uc->write);
    }

    if (ngx_handle_write_event(uc->write, 0) != NGX_OK) {
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
        ngx_http_fd_pass_next(ctx, NGX_PEER_FAILED,
                              NGX_HTTP_INTERNAL_SERVER_ERROR,
                              "the backend cannot be waited for");
    }
}


static ssize_t
ngx_http_fd_pass_send_descriptor(ngx_connection_t *uc, ngx_buf_t *message,
    ngx_socket_t fd)
{
    ssize_t          n;
    ngx_err_t        err;
    struct iovec     iov;
    struct msghdr    msg;
    struct cmsghdr  *cmsg;

    union {
        struct cmsghdr  align;
        u_char          space[CMSG_SPACE(sizeof(int))];
    } control;

    iov.iov_base = message->pos;
    iov.iov_len = message->last - message->pos;

    ngx_memzero(&control, sizeof(control));
    ngx_memzero(&msg, sizeof(struct msghdr));

    msg.msg_iov = &iov;
    msg.msg_iovlen = 1;
    msg.msg_control = &control;
    msg.msg_controllen = sizeof(control.space);

    cmsg = CMSG_FIRSTHDR(&msg);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    ngx_memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));

    do {
        n = sendmsg(uc->fd, &msg, MSG_NOSIGNAL);
        err = ngx_socket_errno;
    } while (n == -1 && err == NGX_EINTR);

    if (n >= 0) {
        return n;
    }

    uc->write->ready = 0;

    if (err == NGX_EAGAIN) {
        return NGX_AGAIN;
    }

    ngx_log_error(NGX_LOG_ERR, uc->log, err, "sendmsg() failed");

    if (err == ETOOMANYREFS) {
        return NGX_DECLINED;
    }

    uc->write->error = 1;

    return NGX_ERROR;
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
            ngx_http_fd_pass_next(ctx, NGX_PEER_FAILED,
                                  NGX_HTTP_INTERNAL_SERVER_ERROR,
                                  "the backend cannot be waited for");
        }

        return;
    }

    if (n == NGX_ERROR || n == 0) {
        ngx_http_fd_pass_closed_early(ctx);
        return;
    }

    if (answer == NGX_HTTP_FD_PASS_TAKEN
        && ctx->state == NGX_HTTP_FD_PASS_AWAITING)
    {
        ngx_http_fd_pass_taken(ctx);
        return;
    }

    if (answer == NGX_HTTP_FD_PASS_REFUSED) {
        ngx_http_fd_pass_refused(ctx);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, uc->log, 0,
                  "the backend answered 0x%02xd instead of an acknowledgement",
                  (int) answer);

    ngx_http_fd_pass_next(ctx, NGX_PEER_FAILED, NGX_HTTP_BAD_GATEWAY,
                          "the backend speaks another protocol");
}


/* over a limit or about to leave: no failure of the backend, and it has closed its copy */

static void
ngx_http_fd_pass_refused(ngx_http_fd_pass_ctx_t *ctx)
{
    ctx->descriptor_sent = 0;
    ctx->refused = 1;

    ngx_http_fd_pass_next(ctx, NGX_PEER_NEXT, NGX_HTTP_BAD_GATEWAY,
                          "the backend refused the client");
}


/*
 * One that refuses need not have read everything, and its byte is still there.  Closing without a word is not counted as a failure
 * either: a client can bring it about (too many fields, say), and could take all backends out for everybody.
 */

static void
ngx_http_fd_pass_closed_early(ngx_http_fd_pass_ctx_t *ctx)
{
    u_char             answer;
    ngx_connection_t  *uc;

    uc = ctx->request->upstream->peer.connection;

    if (recv(uc->fd, &answer, 1, MSG_DONTWAIT) == 1
        && answer == NGX_HTTP_FD_PASS_REFUSED)
    {
        ngx_http_fd_pass_refused(ctx);
        return;
    }

    ngx_http_fd_pass_next(ctx, NGX_PEER_NEXT, NGX_HTTP_BAD_GATEWAY,
                          "the backend closed the connection early");
}


/*
 * After SHUT_RD the backend's acknowledgement fails, and it lets go of the client; one that was sent before is still there and
 * counts.  So there is never a moment in which both sides think that the client is theirs.
 */

static ngx_uint_t
ngx_http_fd_pass_give_up(ngx_connection_t *uc)
{
    u_char  answer;

    if (shutdown(uc->fd, SHUT_RD) == -1) {
        ngx_log_error(NGX_LOG_ALERT, uc->log, ngx_socket_errno,
                      "shutdown(SHUT_RD) failed");
    }

    return recv(uc->fd, &answer, 1, MSG_DONTWAIT) == 1
           && answer == NGX_HTTP_FD_PASS_TAKEN;
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


/*
 * Closes this process's copy of the client, and puts a socket that is connected to nothing in its place.  What nginx does to a
 * connection in the end (shutdown, SO_LINGER, TCP_CORK, TLS alerts) would act on the socket that the backend has now.
 */

static void
ngx_http_fd_pass_detach(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_connection_t  *c;

    if (ctx->detached) {
        return;
    }

    ctx->detached = 1;

    c = ctx->request->connection;

    /* the backend holds the socket open: closing a copy of it ends no epoll registration */

    if (ngx_del_conn) {

        /* with "listen ... deferred" it may never have been needed */

        if (c->read->active || c->write->active) {
            ngx_del_conn(c, 0);
        }

    } else {
        if (c->read->active) {
            ngx_del_event(c->read, NGX_READ_EVENT, 0);
        }

        if (c->write->active) {
            ngx_del_event(c->write, NGX_WRITE_EVENT, 0);
        }
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    if (dup3(ngx_http_fd_pass_nobody, c->fd, O_CLOEXEC) == -1) {
        ngx_log_error(NGX_LOG_ALERT, c->log, ngx_socket_errno,
                      "dup3() failed");
    }

#if (NGX_HTTP_SSL)

    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;
    }

#endif
}


/* the request is freed or terminated, whatever state the handover is in */

void
ngx_http_fd_pass_cleanup(void *data)
{
    ngx_http_fd_pass_ctx_t  *ctx = data;

    ngx_connection_t  *uc;

    if (ctx->state != NGX_HTTP_FD_PASS_IDLE
        && ctx->state != NGX_HTTP_FD_PASS_DONE)
    {
        uc = ctx->request->upstream->peer.connection;

        if (ctx->state == NGX_HTTP_FD_PASS_AWAITING
            && ngx_http_fd_pass_give_up(uc))
        {
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

        /*
         * close(2) of this copy alone would not end the connection.  An error is no news: the client may have gone before.
         */

        (void) ngx_shutdown_socket(ctx->request->connection->fd,
                                   NGX_WRITE_SHUTDOWN);
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
