
/*
 * What only TLS has: which directions the kernel does, bytes that OpenSSL has read already, and silence after the handover.
 */


#include "ngx_http_fd_pass_module.h"


#if (NGX_HTTP_SSL)


static ngx_int_t ngx_http_fd_pass_read_decrypted(ngx_http_request_t *r,
    ngx_uint_t whole_records);
static ngx_int_t ngx_http_fd_pass_reserve(ngx_http_request_t *r, size_t room);


/*
 * Sets ctx->kind, and moves what OpenSSL holds into r->header_in.
 * Returns the status for a client that cannot be handed over, and why.
 */

ngx_int_t
ngx_http_fd_pass_tls_kind(ngx_http_fd_pass_ctx_t *ctx, const char **reason)
{
#ifdef BIO_get_ktls_send

    SSL               *ssl;
    ngx_int_t          rc;
    ngx_connection_t  *c;

    c = ctx->request->connection;
    ssl = c->ssl->connection;

    if (SSL_is_init_finished(ssl)
#ifdef SSL_READ_EARLY_DATA_SUCCESS
        && !c->ssl->in_early
#endif
        && BIO_get_ktls_send(SSL_get_wbio(ssl)) == 1)
    {
        ctx->kind = BIO_get_ktls_recv(SSL_get_rbio(ssl)) == 1
                    ? NGX_HTTP_FD_PASS_FULL
                    : NGX_HTTP_FD_PASS_PARTIAL;

        rc = ngx_http_fd_pass_read_decrypted(ctx->request,
                                        ctx->kind == NGX_HTTP_FD_PASS_FULL);

        if (rc == NGX_OK) {
            return NGX_OK;
        }

        *reason = rc == NGX_DECLINED ? "OpenSSL holds a part of a TLS record"
                                     : "no memory";
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

#endif

    *reason = "the kernel does not encrypt for this client "
              "(\"ssl_conf_command Options KTLS\", cipher, kernel module tls)";

    return NGX_HTTP_INTERNAL_SERVER_ERROR;
}


#ifdef BIO_get_ktls_send

/*
 * Reads what OpenSSL has taken off the socket already, and never waits for more.  r->header_in is where anybody finds it: the
 * message, or the fallback if there will be no handover.
 *
 * Where the kernel decrypts (whole_records), OpenSSL may hold whole records of the time before, which the kernel will not see
 * again.  Where it does not, what is not decrypted yet comes with the relay.
 */

static ngx_int_t
ngx_http_fd_pass_read_decrypted(ngx_http_request_t *r, ngx_uint_t whole_records)
{
    int         n;
    SSL        *ssl;
    size_t      size;
    ngx_buf_t  *b;

    ssl = r->connection->ssl->connection;

    for ( ;; ) {

        size = SSL_pending(ssl);

        if (size == 0) {
            if (!whole_records || !SSL_has_pending(ssl)) {
                return NGX_OK;
            }

            size = SSL3_RT_MAX_PLAIN_LENGTH;
        }

        if (r->header_in->last - r->header_in->pos + size
            > NGX_HTTP_FD_PASS_MAX_EARLY_BYTES + SSL3_RT_MAX_PLAIN_LENGTH)
        {
            /* it will be found to be too much */
            return NGX_OK;
        }

        if (ngx_http_fd_pass_reserve(r, size) != NGX_OK) {
            return NGX_ERROR;
        }

        b = r->header_in;

        n = SSL_read(ssl, b->last, (int) size);

        if (n <= 0) {
            ERR_clear_error();

            return SSL_has_pending(ssl) ? NGX_DECLINED : NGX_OK;
        }

        b->last += n;
    }
}


/*
 * Makes room behind r->header_in->last.  A new buffer is like one of the "large_client_header_buffers", and lives on as one: nginx
 * frees them between the requests of a connection.
 */

static ngx_int_t
ngx_http_fd_pass_reserve(ngx_http_request_t *r, size_t room)
{
    size_t                     used, size;
    ngx_buf_t                 *b, *old;
    ngx_chain_t               *cl;
    ngx_http_connection_t     *hc;
    ngx_http_core_srv_conf_t  *cscf;

    old = r->header_in;

    if ((size_t) (old->end - old->last) >= room) {
        return NGX_OK;
    }

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);

    used = old->last - old->pos;
    size = ngx_max(used + room, cscf->large_client_header_buffers.size);

    b = ngx_create_temp_buf(r->connection->pool, size);
    if (b == NULL) {
        return NGX_ERROR;
    }

    cl = ngx_alloc_chain_link(r->connection->pool);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    hc = r->http_connection;

    cl->buf = b;
    cl->next = hc->busy;
    hc->busy = cl;
    hc->nbusy++;

    b->last = ngx_cpymem(b->last, old->pos, used);

    /* for whoever holds the old one, as the list of busy header buffers does */
    old->pos = old->last;

    r->header_in = b;

    return NGX_OK;
}

#endif


/*
 * Lets OpenSSL go on reading, and lets nothing of what it would write (an alert, the answer to a KeyUpdate) reach the client:
 * the kernel's record numbers are the backend's now.
 */

ngx_int_t
ngx_http_fd_pass_mute_tls(ngx_connection_t *c)
{
    BIO  *nothing;

    nothing = BIO_new(BIO_s_null());

    if (nothing == NULL) {
        ngx_ssl_error(NGX_LOG_ALERT, c->log, 0, "BIO_new() failed");
        return NGX_ERROR;
    }

    SSL_set0_wbio(c->ssl->connection, nothing);

    return NGX_OK;
}


#endif /* NGX_HTTP_SSL */
