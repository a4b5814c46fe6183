
/*
 * Sends a message, with the client's descriptor beside its first byte, on whichever UNIX connection.
 */


#include "ngx_http_fd_pass_module.h"


static ssize_t ngx_http_fd_pass_send_descriptor(ngx_connection_t *uc,
    ngx_buf_t *message, ngx_socket_t fd);


/*
 * Goes on from ctx->message->pos.  NGX_AGAIN: there is more; NGX_DECLINED: nothing was sent, too many descriptors wait in sockets;
 * NGX_ERROR: the other side has closed.
 */

ngx_int_t
ngx_http_fd_pass_send_message(ngx_http_fd_pass_ctx_t *ctx,
    ngx_connection_t *uc)
{
    ssize_t     n;
    ngx_buf_t  *message;

    message = ctx->message;

    while (message->pos < message->last) {

        if (ctx->descriptor_sent) {
            n = uc->send(uc, message->pos, message->last - message->pos);

        } else {
            n = ngx_http_fd_pass_send_descriptor(uc, message,
                                                 ctx->request->connection->fd);
        }

        if (n < 0) {
            return n;
        }

        ctx->descriptor_sent = 1;
        message->pos += n;
    }

    return NGX_OK;
}


static ssize_t
ngx_http_fd_pass_send_descriptor(ngx_connection_t *uc, ngx_buf_t *message,
    ngx_socket_t fd)
{
    ssize_t          n;
    ngx_err_t        err;
    ngx_uint_t       level;
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

    /* a kept connection may have been closed since, and that is nobody's fault */

    level = uc->log_error == NGX_ERROR_INFO && err != ETOOMANYREFS
            ? NGX_LOG_INFO
            : NGX_LOG_ERR;

    ngx_log_error(level, uc->log, err, "sendmsg() failed");

    if (err == ETOOMANYREFS) {
        return NGX_DECLINED;
    }

    uc->write->error = 1;

    return NGX_ERROR;
}
