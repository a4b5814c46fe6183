
/*
 * The end of this process's copy of a client: of one that a backend has taken, and of one that a backend may have a copy of.
 */


#include "ngx_http_fd_pass_module.h"


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

    ngx_http_fd_pass_init_backends();

    return NGX_OK;
}


/*
 * Closes this process's copy of the client, and puts a socket that is connected to nothing in its place.  What nginx does to a
 * connection in the end (shutdown, SO_LINGER, TCP_CORK, TLS alerts) would act on the socket that the backend has now.
 */

void
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


/*
 * For a client that is not handed over: closing one copy alone would not end the connection.  An error is no news: the client may
 * have gone before.
 */

void
ngx_http_fd_pass_end_copy(ngx_http_fd_pass_ctx_t *ctx)
{
    (void) ngx_shutdown_socket(ctx->request->connection->fd,
                               NGX_WRITE_SHUTDOWN);
}
