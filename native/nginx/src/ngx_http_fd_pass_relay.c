
/*
 * A partial handover after the acknowledgement: the backend writes to the client itself, and this process goes on decrypting
 * what the client sends, for the backend to read from the UNIX connection.
 */


#include "ngx_http_fd_pass_module.h"

#include <poll.h>
#include <netinet/tcp.h>


static void ngx_http_fd_pass_relay_client_event(ngx_http_request_t *r);
static void ngx_http_fd_pass_relay_data(ngx_http_fd_pass_ctx_t *ctx);
static ngx_uint_t ngx_http_fd_pass_client_reset(ngx_connection_t *c);
static void ngx_http_fd_pass_watch_backend(ngx_http_fd_pass_ctx_t *ctx);
static ngx_uint_t ngx_http_fd_pass_backend_closed(ngx_connection_t *uc);
static void ngx_http_fd_pass_set_idle_timer(ngx_http_fd_pass_ctx_t *ctx);
static ngx_msec_t ngx_http_fd_pass_idle_time(ngx_connection_t *c);
static ngx_int_t ngx_http_fd_pass_tcp_info(ngx_connection_t *c,
    struct tcp_info *info);


/* how often an idle relay without a timeout is looked at */
#define NGX_HTTP_FD_PASS_IDLE_CHECK  3600000

/* buffers in a row for one client before the others of this worker have their turn */
#define NGX_HTTP_FD_PASS_RELAY_TURN  64


void
ngx_http_fd_pass_start_relay(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_connection_t    *c, *uc;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;
    uc = r->upstream->peer.connection;

    c->log->action = "relaying the client's bytes to backend";

    ctx->state = NGX_HTTP_FD_PASS_RELAYING;

    /* a backend that is done while the client still sends is no error */
    uc->log_error = NGX_ERROR_INFO;

    ctx->relay = ngx_create_temp_buf(r->pool, NGX_HTTP_FD_PASS_RELAY_BUFFER);

    if (ctx->relay == NULL
#if (NGX_HTTP_SSL)
        || ngx_http_fd_pass_mute_tls(c) != NGX_OK
#endif
       )
    {
        ngx_http_fd_pass_finish(ctx);
        return;
    }

    r->read_event_handler = ngx_http_fd_pass_relay_client_event;
    r->write_event_handler = ngx_http_request_empty_handler;

    ngx_http_fd_pass_set_idle_timer(ctx);

    /* the backend may have been quick */

    if (uc->read->ready) {
        ngx_post_event(uc->read, &ngx_posted_events);
    }

    ngx_http_fd_pass_relay_data(ctx);
}


static void
ngx_http_fd_pass_relay_client_event(ngx_http_request_t *r)
{
    ngx_http_fd_pass_ctx_t  *ctx;
    ngx_connection_t        *uc;

    uc = r->upstream->peer.connection;
    ctx = uc->data;

    ngx_http_fd_pass_relay_data(ctx);
}


void
ngx_http_fd_pass_relay_backend_event(ngx_http_fd_pass_ctx_t *ctx,
    ngx_event_t *ev)
{
    ngx_connection_t  *c, *uc;

    c = ctx->request->connection;
    uc = ev->data;

    if (uc->close) {
        ngx_http_fd_pass_finish(ctx);
        return;
    }

    if (ev->timedout && ev->write) {
        ngx_log_error(NGX_LOG_ERR, c->log, NGX_ETIMEDOUT,
                      "the backend does not take the client's bytes");
        ngx_http_fd_pass_finish(ctx);
        return;
    }

    if (ev->timedout) {
        ev->timedout = 0;

        if (ctx->conf->idle_timeout
            && ngx_http_fd_pass_idle_time(c) >= ctx->conf->idle_timeout)
        {
            ngx_log_error(NGX_LOG_INFO, c->log, NGX_ETIMEDOUT,
                          "nothing went either way");
            ngx_http_fd_pass_finish(ctx);
            return;
        }

        ngx_http_fd_pass_set_idle_timer(ctx);
        return;
    }

    if (ev->write) {
        ngx_http_fd_pass_relay_data(ctx);
        return;
    }

    ngx_http_fd_pass_watch_backend(ctx);
}


/* from the client to the backend, as much as goes: the next bytes are read when the last ones are sent */

static void
ngx_http_fd_pass_relay_data(ngx_http_fd_pass_ctx_t *ctx)
{
    ssize_t            n;
    ngx_buf_t         *b;
    ngx_uint_t         turns;
    ngx_connection_t  *c, *uc;

    c = ctx->request->connection;
    uc = ctx->request->upstream->peer.connection;
    b = ctx->relay;

    /* the backend may have changed a flag that both copies share, and one blocking read would stop the worker */

    if (ngx_nonblocking(c->fd) == -1) {
        ngx_log_error(NGX_LOG_ALERT, c->log, ngx_socket_errno,
                      ngx_nonblocking_n " failed");
        ngx_http_fd_pass_finish(ctx);
        return;
    }

    for (turns = 0; /* void */; turns++) {

        while (b->pos < b->last) {

            n = uc->send(uc, b->pos, b->last - b->pos);

            if (n == NGX_AGAIN) {
                if (!uc->write->timer_set) {
                    ngx_add_timer(uc->write, ctx->conf->send_timeout);
                }

                goto wait;
            }

            if (n == NGX_ERROR) {
                ngx_http_fd_pass_finish(ctx);
                return;
            }

            b->pos += n;

            if (uc->write->timer_set) {
                ngx_del_timer(uc->write);
            }
        }

        if (ctx->client_eof) {

            if (!ctx->eof_sent && !ctx->gave_up) {
                ctx->eof_sent = 1;

                if (shutdown(uc->fd, SHUT_WR) == -1) {
                    ngx_connection_error(uc, ngx_socket_errno,
                                         "shutdown(SHUT_WR) failed");
                }
            }

            /* the answer may still be under way: the backend says when it is done */

            if (ngx_handle_read_event(c->read, NGX_CLOSE_EVENT) != NGX_OK) {
                ngx_http_fd_pass_finish(ctx);
            }

            return;
        }

        if (turns == NGX_HTTP_FD_PASS_RELAY_TURN) {
            ngx_post_event(c->read, &ngx_posted_next_events);
            return;
        }

        b->pos = b->start;
        b->last = b->start;

        n = c->recv(c, b->last, b->end - b->last);

        if (n == NGX_AGAIN) {
            goto wait;
        }

        if (n == NGX_ERROR || (n == 0 && ngx_http_fd_pass_client_reset(c))) {

            /* closing tells the backend that this is no polite end */

            ngx_http_fd_pass_finish(ctx);
            return;
        }

        if (n == 0) {
            ctx->client_eof = 1;
            continue;
        }

        b->last += n;
    }

wait:

    if (ngx_handle_read_event(c->read, 0) != NGX_OK
        || ngx_handle_write_event(uc->write, 0) != NGX_OK)
    {
        ngx_http_fd_pass_finish(ctx);
    }
}


/*
 * ngx_ssl_recv() says of a reset what it says of a polite end.  A connection that both sides have ended looks the same: then the
 * backend has written all it will, and closing is right as well.
 */

static ngx_uint_t
ngx_http_fd_pass_client_reset(ngx_connection_t *c)
{
    struct tcp_info  info;

    return ngx_http_fd_pass_tcp_info(c, &info) == NGX_OK
           && info.tcpi_state == TCP_CLOSE;
}


/* a backend has nothing to say here: it closes, and that ends the client too */

static void
ngx_http_fd_pass_watch_backend(ngx_http_fd_pass_ctx_t *ctx)
{
    u_char             byte;
    ssize_t            n;
    ngx_connection_t  *uc;

    uc = ctx->request->upstream->peer.connection;

    n = uc->recv(uc, &byte, 1);

    if (n == NGX_AGAIN
        || (n == 0 && !ngx_http_fd_pass_backend_closed(uc)))
    {
        if (ngx_handle_read_event(uc->read, 0) != NGX_OK) {
            ngx_http_fd_pass_finish(ctx);
        }

        return;
    }

    if (n > 0) {
        ngx_log_error(NGX_LOG_ERR, uc->log, 0,
                      "the backend wrote to the connection that it may only "
                      "read");
    }

    ngx_http_fd_pass_finish(ctx);
}


/* the end of its stream alone does not say so: this side may have shut its own reading down to be sure of the acknowledgement */

static ngx_uint_t
ngx_http_fd_pass_backend_closed(ngx_connection_t *uc)
{
    struct pollfd  pfd;

    pfd.fd = uc->fd;
    pfd.events = 0;
    pfd.revents = 0;

    return poll(&pfd, 1, 0) == 1 && (pfd.revents & (POLLHUP|POLLERR));
}


/*
 * There is always a timer: a worker that is to leave waits as long as there is one, so a reload cuts nobody off before
 * "worker_shutdown_timeout".
 */

static void
ngx_http_fd_pass_set_idle_timer(ngx_http_fd_pass_ctx_t *ctx)
{
    ngx_msec_t         idle, timeout;
    ngx_connection_t  *uc;

    uc = ctx->request->upstream->peer.connection;

    timeout = ctx->conf->idle_timeout;

    if (timeout == 0) {
        ngx_add_timer(uc->read, NGX_HTTP_FD_PASS_IDLE_CHECK);
        return;
    }

    idle = ngx_http_fd_pass_idle_time(ctx->request->connection);

    ngx_add_timer(uc->read, idle < timeout ? timeout - idle : timeout);
}


/* the backend's answers do not pass here: the kernel is asked when something went either way */

static ngx_msec_t
ngx_http_fd_pass_idle_time(ngx_connection_t *c)
{
    struct tcp_info  info;

    if (ngx_http_fd_pass_tcp_info(c, &info) != NGX_OK) {
        return 0;
    }

    return ngx_min(info.tcpi_last_data_sent, info.tcpi_last_data_recv);
}


static ngx_int_t
ngx_http_fd_pass_tcp_info(ngx_connection_t *c, struct tcp_info *info)
{
    socklen_t  len;

    len = sizeof(struct tcp_info);

    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, info, &len) == -1) {
        ngx_log_error(NGX_LOG_ALERT, c->log, ngx_socket_errno,
                      "getsockopt(TCP_INFO) failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}
