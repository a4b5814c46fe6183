
/*
 * The content handler: whether this client can be handed over, and what happens to one that cannot.
 */


#include "ngx_http_fd_pass_module.h"


static ngx_int_t ngx_http_fd_pass_check(ngx_http_fd_pass_ctx_t *ctx,
    const char **reason);
static ngx_uint_t ngx_http_fd_pass_body_is_read(ngx_http_request_t *r);


ngx_int_t
ngx_http_fd_pass_handler(ngx_http_request_t *r)
{
    ngx_int_t                rc;
    const char              *reason;
    ngx_http_fd_pass_ctx_t  *ctx;

    ctx = ngx_http_fd_pass_create_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* from here on it is finalized by events, also by those of this very call */

    r->main->count++;

    rc = ngx_http_fd_pass_check(ctx, &reason);

    if (rc != NGX_OK) {
        ngx_http_fd_pass_decline(ctx, rc, reason);
        return NGX_DONE;
    }

    rc = ngx_http_fd_pass_create_message(ctx);

    if (rc == NGX_DECLINED) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return NGX_DONE;
    }

    if (rc != NGX_OK || ngx_http_fd_pass_init_peer(ctx) != NGX_OK) {
        ngx_http_finalize_request(r, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return NGX_DONE;
    }

    ngx_http_fd_pass_handover(ctx);

    return NGX_DONE;
}


/*
 * Nothing that the client sent may have gone elsewhere, and nothing may be on its way to it.
 * Returns the status that a client gets who cannot be handed over, if there is no fallback.
 */

static ngx_int_t
ngx_http_fd_pass_check(ngx_http_fd_pass_ctx_t *ctx, const char **reason)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;
#if (NGX_HTTP_SSL)
    ngx_int_t            rc;
#endif

    r = ctx->request;
    c = r->connection;

    if (r->http_version != NGX_HTTP_VERSION_11) {
        *reason = "only HTTP/1.1 can be handed over";
        return NGX_HTTP_VERSION_NOT_SUPPORTED;
    }

    if (r != r->main) {
        *reason = "a subrequest cannot be handed over";
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_fd_pass_body_is_read(r)) {
        *reason = "another module has read the request body";
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r->header_sent || r->buffered || c->buffered) {
        *reason = "something is already on its way to the client";
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->kind = NGX_HTTP_FD_PASS_FULL;

#if (NGX_HTTP_SSL)

    if (c->ssl) {
        rc = ngx_http_fd_pass_tls_kind(ctx, reason);
        if (rc != NGX_OK) {
            return rc;
        }
    }

#endif

    if (r->header_in->last - r->header_in->pos
        > NGX_HTTP_FD_PASS_MAX_EARLY_BYTES)
    {
        *reason = "more than 64k was read past the request header";
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_OK;
}


/* by another module, which has kept it or thrown it away, or is about to */

static ngx_uint_t
ngx_http_fd_pass_body_is_read(ngx_http_request_t *r)
{
    ngx_table_elt_t  *length;

    if (r->reading_body || r->discard_body) {
        return 1;
    }

    if (r->request_body
        && (r->headers_in.content_length_n > 0 || r->headers_in.chunked))
    {
        return 1;
    }

    /* a body that is thrown away is counted down to 0, and the field still announces it */

    length = r->headers_in.content_length;

    return length
           && ngx_atoof(length->value.data, length->value.len)
              != r->headers_in.content_length_n;
}


/* the client is whole: it goes to the fallback, or is answered here */

void
ngx_http_fd_pass_decline(ngx_http_fd_pass_ctx_t *ctx, ngx_int_t status,
    const char *reason)
{
    ngx_str_t           *fallback;
    ngx_uint_t           level;
    ngx_http_request_t  *r;

    r = ctx->request;
    fallback = &ctx->conf->fallback;

    ctx->state = NGX_HTTP_FD_PASS_DONE;
    ctx->elapsed = ngx_current_msec - ctx->start;

    r->connection->log->action = NULL;

    /* as if fd_pass had not been there: another module may make its own */
    r->upstream = NULL;

    if (ctx->copy_left) {

        /* whoever has the copy may have changed a flag that both share */

        if (ngx_nonblocking(r->connection->fd) == -1) {
            ngx_log_error(NGX_LOG_ALERT, r->connection->log, ngx_socket_errno,
                          ngx_nonblocking_n " failed");
        }

        /* the end of a kept connection could not be told to the client */

        r->keepalive = 0;
        r->lingering_close = 1;
    }

    if (fallback->len == 0) {
        /* the client alone decides about its version: no line of the error log for each */

        level = status == NGX_HTTP_VERSION_NOT_SUPPORTED ? NGX_LOG_INFO
                                                         : NGX_LOG_ERR;

        ngx_log_error(level, r->connection->log, 0,
                      "fd_pass answers %i: %s, and there is no "
                      "\"fd_pass_fallback\"", status, reason);

        ngx_http_finalize_request(r, status);
        return;
    }

    ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                  "fd_pass falls back to \"%V\": %s", fallback, reason);

    ngx_http_named_location(r, fallback);
    ngx_http_finalize_request(r, NGX_DONE);
}
