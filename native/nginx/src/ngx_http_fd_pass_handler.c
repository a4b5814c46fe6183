
/*
 * The content handler: whether this client can be handed over, and what happens to one that cannot.
 */


#include "ngx_http_fd_pass_module.h"


static ngx_int_t ngx_http_fd_pass_check(ngx_http_fd_pass_ctx_t *ctx,
    const char **reason);


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
    ngx_uint_t           has_body;
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

    has_body = r->headers_in.content_length_n > 0 || r->headers_in.chunked;

    if ((r->request_body && has_body) || r->reading_body || r->discard_body) {
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


/* the client is whole: it goes to the fallback, or is answered here */

void
ngx_http_fd_pass_decline(ngx_http_fd_pass_ctx_t *ctx, ngx_int_t status,
    const char *reason)
{
    ngx_str_t           *fallback;
    ngx_http_request_t  *r;

    r = ctx->request;
    fallback = &ctx->conf->fallback;

    ctx->state = NGX_HTTP_FD_PASS_DONE;
    ctx->elapsed = ngx_current_msec - ctx->start;

    /* as if fd_pass had not been there: another module may make its own */
    r->upstream = NULL;

    if (ctx->copy_left) {

        /* the end of a kept connection could not be told to the client */

        r->keepalive = 0;
        r->lingering_close = 1;
    }

    if (fallback->len == 0) {
        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
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
